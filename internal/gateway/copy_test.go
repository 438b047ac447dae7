package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

var root = cid.MustParse("bafybeiemubpxrd4g74pzywujnoix6mouqf6culv4jsbaah5foeqlirx7de")

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// honest is a gateway that serves content, ranges of it as well, and sends
// every body through wrap.
func honest(content []byte, wrap func(io.Reader) io.Reader) fake {
	return func(r *http.Request) *http.Response {
		if wrap == nil {
			wrap = func(r io.Reader) io.Reader { return r }
		}
		part, ok := ParseRange(r.Header.Get("Range"))
		if !ok {
			resp := response(200, nil, wrap(bytes.NewReader(content)))
			resp.ContentLength = int64(len(content))
			return resp
		}
		size := int64(len(content))
		from, to := part.Resolve(size)
		if from >= to {
			return response(416, http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}}, strings.NewReader(""))
		}
		resp := response(206, http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)}},
			wrap(bytes.NewReader(content[from:to])))
		resp.ContentLength = to - from
		return resp
	}
}

// after lets n bytes of a body pass and goes on with next.
func after(n int64, next io.Reader) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader { return io.MultiReader(io.LimitReader(r, n), next) }
}

// breaking breaks off what is longer than n bytes.
func breaking(n int) func(io.Reader) io.Reader {
	return func(r io.Reader) io.Reader {
		if r.(*bytes.Reader).Len() <= n {
			return r
		}
		return after(int64(n), broken{})(r)
	}
}

// once is wrap for the first body only.
func once(wrap func(io.Reader) io.Reader) func(io.Reader) io.Reader {
	done := false
	return func(r io.Reader) io.Reader {
		if done {
			return r
		}
		done = true
		return wrap(r)
	}
}

func flipped(content []byte, at int) []byte {
	out := bytes.Clone(content)
	out[at] ^= 1
	return out
}

// sink is a client that keeps what it gets.
type sink struct {
	bytes.Buffer
	starts         int
	from, to, size int64
}

func (s *sink) Start(from, to, size int64) {
	s.starts++
	s.from, s.to, s.size = from, to, size
}

func (f *farm) file(p *Pool) File { return File{Pool: p, Root: root, Path: "blobs/x"} }

const long = 3*piece + 5

// Whatever goes wrong at one gateway, in the middle of a file or at its ends,
// another makes good, and nobody notices.
func TestCopyGoesOn(t *testing.T) {
	content := random(long)
	bad := map[string]fake{
		"breaks off at once":      honest(content, after(0, broken{})),
		"breaks off":              honest(content, after(piece*2+9, broken{})),
		"breaks off at a piece":   honest(content, after(piece*2, broken{})),
		"breaks off at the end":   honest(content, after(long-1, broken{})),
		"ends early, cleanly":     honest(content, after(piece*2+9, strings.NewReader(""))),
		"appends a message":       honest(content, after(piece+9, io.MultiReader(strings.NewReader("context deadline exceeded"), broken{}))),
		"appends":                 honest(content, after(long, strings.NewReader("!"))),
		"refuses":                 status(500),
		"has nothing":             status(404),
		"sends a page":            says("<html>"),
		"says nothing of its end": unsized(honest(content, after(piece*2+9, broken{}))),
	}
	for name, gateway := range bad {
		t.Run(name, func(t *testing.T) {
			f := &farm{gateways: []fake{gateway, honest(content, nil)}}
			got := copyOf(t, f, content)
			if !strings.HasPrefix(strings.Join(f.asked, ""), "ab") {
				t.Errorf("asked %v", f.asked)
			}
			if got.starts != 1 || got.from != 0 {
				t.Errorf("started %+v", got)
			}
		})
	}
	for name, wrap := range map[string]func(context.Context) io.Reader{
		"stalls": func(ctx context.Context) io.Reader { return hung{ctx} },
		"drips":  func(ctx context.Context) io.Reader { return drip{ctx} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				copyOf(t, &farm{gateways: []fake{
					func(r *http.Request) *http.Response {
						return honest(content, after(piece*2+9, wrap(r.Context())))(r)
					},
					honest(content, nil),
				}}, content)
			})
		})
	}
}

// unsized makes a gateway send bodies whose length is not said before.
func unsized(f fake) fake {
	return func(r *http.Request) *http.Response {
		resp := f(r)
		resp.ContentLength = -1
		return resp
	}
}

func copyOf(t *testing.T, f *farm, content []byte) *sink {
	t.Helper()
	got := new(sink)
	if err := f.file(f.groups()).Copy(t.Context(), digest.FromBytes(content), nil, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), content) {
		t.Fatalf("%d bytes arrived, not the %d right ones", got.Len(), len(content))
	}
	return got
}

// A gateway that is alone and breaks off again and again is asked for the rest
// as long as it gets further.
func TestCopyGoesOnAtTheSameGateway(t *testing.T) {
	content := random(10*piece + 1)
	f := &farm{gateways: []fake{honest(content, breaking(2*piece))}}
	copyOf(t, f, content)
	if len(f.asked) < 5 {
		t.Errorf("asked %d times", len(f.asked))
	}

	f = &farm{gateways: []fake{honest(content, breaking(piece/2))}}
	got := new(sink)
	err := f.file(f.pool()).Copy(t.Context(), digest.FromBytes(content), nil, got)
	if !errors.Is(err, io.ErrUnexpectedEOF) || got.starts != 0 || len(f.asked) != 1 {
		t.Errorf("no progress: %v, %d starts, asked %v", err, got.starts, f.asked)
	}
}

func TestCopySizes(t *testing.T) {
	for _, n := range []int{0, 1, piece - 1, piece, piece + 1, 2 * piece, long} {
		for _, wrap := range []func(fake) fake{func(f fake) fake { return f }, unsized} {
			content := random(n)
			got := copyOf(t, &farm{gateways: []fake{wrap(honest(content, nil))}}, content)
			if got.starts != 1 {
				t.Errorf("%d bytes: started %d times", n, got.starts)
			}
			if got.size != int64(n) || got.to != int64(n) {
				t.Errorf("%d bytes: started %+v", n, got)
			}
		}
	}
}

// A false blob never arrives whole.
func TestCopyHoldsBack(t *testing.T) {
	content := random(long)
	for _, at := range []int{0, piece, long - 1} {
		f := &farm{gateways: []fake{honest(flipped(content, at), nil), honest(content, nil)}}
		got := new(sink)
		var failures []Failure
		file := f.file(f.groups())
		file.Failed = func(f Failure) { failures = append(failures, f) }
		err := file.Copy(t.Context(), digest.FromBytes(content), nil, got)
		if !errors.Is(err, ErrMismatch) {
			t.Errorf("flipped at %d: %v", at, err)
		}
		if got.Len() >= long || got.to != long {
			t.Errorf("flipped at %d: %d bytes arrived, %d were announced", at, got.Len(), got.to)
		}
		if len(failures) != 1 || !failures[0].Strike || failures[0].Gateway != "http://a" {
			t.Errorf("flipped at %d: reported %v", at, failures)
		}
		// The next try is at the honest gateway.
		copyOfFile(t, file, content)
	}
}

func copyOfFile(t *testing.T, file File, content []byte) {
	t.Helper()
	got := new(sink)
	if err := file.Copy(t.Context(), digest.FromBytes(content), nil, got); err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

// What fits a piece is checked before anything of it is written.
func TestCopyPassesOverSmallLies(t *testing.T) {
	content := random(piece)
	copyOf(t, &farm{gateways: []fake{honest(flipped(content, 9), nil), honest(content, nil)}}, content)
}

// The digest's own algorithm counts.
func TestCopySHA512(t *testing.T) {
	content := random(long)
	f := &farm{gateways: []fake{honest(content, nil)}}
	got := new(sink)
	if err := f.file(f.pool()).Copy(t.Context(), digest.SHA512.FromBytes(content), nil, got); err != nil {
		t.Error(err)
	}
	if err := f.file(f.pool()).Copy(t.Context(), digest.SHA512.FromString("another"), nil, new(sink)); !errors.Is(err, ErrMismatch) {
		t.Errorf("another blob: %v", err)
	}
	if err := f.file(f.pool()).Copy(t.Context(), "md5:00", nil, new(sink)); err == nil {
		t.Error("a digest of an unknown algorithm is accepted")
	}
}

func TestCopyRange(t *testing.T) {
	content := random(long)
	for _, r := range []Range{{0, 0}, {0, -1}, {5, 9}, {piece, -1}, {piece - 1, 2 * piece}, {long - 1, -1}, {-7, -1}, {-2 * long, -1}, {9, 2 * long}} {
		for name, gateway := range map[string]fake{
			"honest":     honest(content, nil),
			"breaks off": honest(content, once(after(piece+3, broken{}))),
			"no ranges":  says(string(content)),
			"another range": func(*http.Request) *http.Response {
				return response(206, http.Header{"Content-Range": {"bytes 1-2/9"}}, strings.NewReader("xx"))
			},
			"no Content-Range": func(*http.Request) *http.Response {
				return response(206, nil, strings.NewReader("xx"))
			},
			"false 416": func(*http.Request) *http.Response {
				return response(416, http.Header{"Content-Range": {"bytes */" + strconv.Itoa(long)}}, strings.NewReader(""))
			},
		} {
			f := &farm{gateways: []fake{gateway, honest(content, nil)}}
			got := new(sink)
			if err := f.file(f.groups()).Copy(t.Context(), digest.FromBytes(content), &r, got); err != nil {
				t.Errorf("%s, %s: %v", r, name, err)
				continue
			}
			from, to := r.Resolve(long)
			if !bytes.Equal(got.Bytes(), content[from:to]) || got.from != from || got.to != to || got.size != long || got.starts != 1 {
				t.Errorf("%s, %s: %d bytes, %d-%d/%d", r, name, got.Len(), got.from, got.to, got.size)
			}
		}
	}
}

// A range that is all of a file is checked as all of it.
func TestCopyRangeOfAllIsChecked(t *testing.T) {
	content := random(long)
	f := &farm{gateways: []fake{honest(flipped(content, 1), nil)}}
	err := f.file(f.pool()).Copy(t.Context(), digest.FromBytes(content), &Range{0, -1}, new(sink))
	if !errors.Is(err, ErrMismatch) {
		t.Errorf("error %v", err)
	}
}

func TestCopyRangeOutside(t *testing.T) {
	f := &farm{gateways: []fake{honest(random(9), nil), honest(random(9), nil)}}
	err := f.file(f.pool()).Copy(t.Context(), digest.FromString(""), &Range{9, -1}, new(sink))
	outside, ok := errors.AsType[RangeError](err)
	if !isAll(err, ErrRange) || !ok || outside.Size != 9 {
		t.Errorf("error %v", err)
	}
}

// Gateways that do not agree about the file's size cannot go on for each other.
func TestCopyOfAnotherSize(t *testing.T) {
	content := random(long)
	f := &farm{gateways: []fake{honest(content, breaking(2*piece)), honest(append(content, '!'), nil)}}
	got := new(sink)
	err := f.file(f.groups()).Copy(t.Context(), digest.FromBytes(content), nil, got)
	// Only the first one does, when it is its turn again.
	if err != nil || !bytes.Equal(got.Bytes(), content) || strings.Join(f.asked, "") != "abbaba" {
		t.Errorf("%v, %d bytes, asked %v", err, got.Len(), f.asked)
	}
}

// Whatever a gateway does to a blob that an honest one has as well, trying again
// helps. Each is honest about parts.
func TestCopySecondTry(t *testing.T) {
	content := random(long)
	longer := func(f fake) fake {
		return func(r *http.Request) *http.Response {
			resp := f(r)
			if r.Header.Get("Range") == "" {
				resp.ContentLength++
			}
			return resp
		}
	}
	for name, lie := range map[string]fake{
		"flips":            honest(flipped(content, 9), nil),
		"flips and breaks": honest(flipped(content, 9), breaking(2*piece)),
		"a byte too many":  longer(honest(content, after(long, broken{}))),
		"and cleanly":      longer(honest(content, nil)),
	} {
		for _, pool := range []func(*farm) *Pool{(*farm).groups, (*farm).pool} {
			parts, whole := honest(content, nil), lie
			f := &farm{gateways: []fake{func(r *http.Request) *http.Response {
				if r.Header.Get("Range") != "" {
					return parts(r)
				}
				return whole(r)
			}, honest(content, nil)}}
			file := f.file(pool(f))
			got := new(sink)
			if err := file.Copy(t.Context(), digest.FromBytes(content), nil, got); err == nil || got.Len() >= long && got.to <= long {
				t.Errorf("%s: first try: %v, %d bytes", name, err, got.Len())
			}
			for range 3 {
				copyOfFile(t, file, content)
			}
		}
	}
}

// A size that is not said is asked for, so that a body can neither go on for
// ever nor end early without anybody noticing.
func TestCopyOfUnsaidSize(t *testing.T) {
	content := random(long)
	got := copyOf(t, &farm{gateways: []fake{func(r *http.Request) *http.Response {
		if r.Header.Get("Range") != "" {
			return honest(content, nil)(r)
		}
		return unsized(honest(content, nil))(r)
	}}}, content)
	if got.from != 0 || got.to != long || got.size != long {
		t.Errorf("started %+v", got)
	}

	f := &farm{gateways: []fake{func(*http.Request) *http.Response {
		return response(200, nil, readerFunc(func(b []byte) (int, error) { return len(b), nil }))
	}}}
	got = new(sink)
	err := f.file(f.pool()).Copy(t.Context(), digest.FromBytes(content), nil, got)
	if !errors.Is(err, ErrNoRanges) || got.starts != 0 || len(f.asked) != 2 {
		t.Errorf("endless: %v, %+v, asked %v", err, got.starts, f.asked)
	}
}

// Who waits for a gateway holds no buffer, however many wait.
func TestCopyTakesBuffersLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer func() { buffers = sync.Pool{New: func() any { return new(buffer) }} }()
		buffers = sync.Pool{New: func() any {
			t.Error("a buffer is taken")
			return new(buffer)
		}}
		f := &farm{gateways: []fake{silence, status(404)}}
		if err := f.file(f.pool()).Copy(t.Context(), digest.FromString(""), nil, new(sink)); err == nil {
			t.Error("no error")
		}
	})
}

type leaving struct{ sink }

var errLeft = errors.New("connection reset")

func (leaving) Write([]byte) (int, error) { return 0, errLeft }

func TestCopyToAClientThatLeaves(t *testing.T) {
	content := random(long)
	f := &farm{gateways: []fake{honest(content, nil), honest(content, nil)}}
	file := f.file(f.pool())
	var failures []Failure
	file.Failed = func(f Failure) { failures = append(failures, f) }
	err := file.Copy(t.Context(), digest.FromBytes(content), nil, new(leaving))
	if !errors.Is(err, errLeft) || len(f.asked) != 1 {
		t.Errorf("error %v, asked %v", err, f.asked)
	}
	if len(failures) != 1 || failures[0].Strike {
		t.Errorf("reported %v", failures)
	}
}

func TestReadAll(t *testing.T) {
	check := func(b []byte) error {
		if string(b) != "right" {
			return ErrMismatch
		}
		return nil
	}
	for _, bad := range []fake{says("lie"), says("much too long"), status(404), status(500), unsized(honest([]byte("much too long"), nil)), honest([]byte("right"), after(2, broken{}))} {
		f := &farm{gateways: []fake{bad, says("right")}}
		got, err := f.file(f.groups()).ReadAll(t.Context(), 9, check)
		if err != nil || string(got) != "right" || len(f.asked) != 2 {
			t.Errorf("%q, %v, asked %v", got, err, f.asked)
		}
	}
	f := &farm{gateways: []fake{status(404)}}
	if got, err := f.file(f.pool()).ReadAll(t.Context(), 9, check); got != nil || !isAll(err, fs.ErrNotExist) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSize(t *testing.T) {
	for _, test := range []struct {
		bad  fake
		size int
	}{
		{status(404), 12},
		{silence, 12},
		{honest(random(12), nil), 12},
		{honest(nil, nil), 0},
		{says("without ranges"), len("without ranges")},
		{unsized(says("neither length")), 12},
		{func(*http.Request) *http.Response {
			return response(206, http.Header{"Content-Range": {"bytes 1-1/900"}}, strings.NewReader("x"))
		}, 12},
		{func(*http.Request) *http.Response {
			return response(416, http.Header{"Content-Range": {"bytes */900"}}, strings.NewReader(""))
		}, 12},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &farm{gateways: []fake{test.bad, honest(random(12), nil)}}
			got, err := f.file(f.groups()).Size(t.Context())
			if err != nil || got != int64(test.size) {
				t.Errorf("%d, %v; want %d", got, err, test.size)
			}
		})
	}
}

func TestParseRange(t *testing.T) {
	for s, want := range map[string]Range{
		"bytes=0-": {0, -1}, "bytes=5-9": {5, 9}, "bytes=-7": {-7, -1}, "bytes=0-0": {0, 0},
	} {
		got, ok := ParseRange(s)
		if !ok || got != want || got.String() != s {
			t.Errorf("ParseRange(%q) = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes=", "bytes=-", "bytes=-0", "bytes=9-5", "bytes=+1-", "bytes=0x1-", "bytes=1-2,3-4",
		"items=0-", "0-", "bytes= 0-", "bytes=--1", "bytes=99999999999999999999-",
	} {
		if got, ok := ParseRange(s); ok {
			t.Errorf("ParseRange(%q) = %v", s, got)
		}
	}
}
