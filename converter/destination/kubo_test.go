package destination

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
)

// What a node says when something went wrong, in every place where it may say
// so, never passes for success. What a real node does is tested in tests/.
func TestKuboFailures(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 2<<20)))
	testOver := make(chan struct{})
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string // in the error
	}{
		"not pinned": {afterReading(func(w http.ResponseWriter, root string) {
			answerRoot(w, root, "out of luck")
		}), "out of luck"},
		"another root": {afterReading(func(w http.ResponseWriter, _ string) {
			answerRoot(w, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", "")
		}), "does not say that"},
		"nothing": {afterReading(func(http.ResponseWriter, string) {}), "does not say that"},
		"late error": {afterReading(func(w http.ResponseWriter, root string) {
			w.Header().Set("Trailer", "X-Stream-Error")
			answerRoot(w, root, "")
			w.Header().Set("X-Stream-Error", "disk on fire")
		}), "disk on fire"},
		"no JSON": {afterReading(func(w http.ResponseWriter, _ string) {
			io.WriteString(w, "<html>")
		}), "reading its answer"},
		"early error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, `{"Message":"import failed"}`)
		}, "import failed"},
		"wrong token": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		}, "API.Authorizations"},
		"no Kubo": {func(w http.ResponseWriter, _ *http.Request) {
			http.NotFound(w, nil)
		}, "as the RPC API of a Kubo node does not"},
		"gone in the middle": {func(_ http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 1<<20)
			panic(http.ErrAbortHandler)
		}, "adding to the IPFS node"},
		"silent in the middle": {func(_ http.ResponseWriter, r *http.Request) {
			io.CopyN(io.Discard, r.Body, 1<<20)
			<-testOver
		}, "neither takes"},
	} {
		t.Run(name, func(t *testing.T) {
			node := httptest.NewServer(test.answer)
			defer node.Close()
			dst, err := ToKubo(newNode(t, node.URL, "secret"), t.Logf)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "neither takes" { // the others answer, however busy the machine is
				dst.stall = 300 * time.Millisecond
				dst.pin = 300 * time.Millisecond
			}
			_, err = converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, converter.Options{Compression: blob.Uncompressed})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v; want one line with %q", err, test.want)
			}
			if err := dst.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(dst.TempDir()); !os.IsNotExist(err) {
				t.Errorf("the temporary directory is left: %v", err)
			}
			if name == "silent in the middle" {
				close(testOver) // or the server would wait for its handler
			}
		})
	}
}

// A node that falls silent when all is pinned does not keep the result.
func TestKuboThatDoesNotNameThePin(t *testing.T) {
	testOver := make(chan struct{})
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/pin/add") {
			<-testOver
			return
		}
		afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
	}))
	defer node.Close()
	defer close(testOver)
	var notes []string
	dst, err := ToKubo(newNode(t, node.URL+"/api/v0/", ""), func(format string, args ...any) {
		notes = append(notes, fmt.Sprintf(format, args...))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	dst.pin = 200 * time.Millisecond
	if _, err := converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(testimage.OldDocker(testimage.New(nil, testimage.Layer("a", 10))))), dst, converter.Options{}); err != nil {
		t.Error(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "could not be named") {
		t.Errorf("notes are %q", notes)
	}
}

// An import into which nothing comes for too long is given up, since the node
// can collect no garbage meanwhile, and everything is sent again in the end.
func TestKuboWhileTheArchiveRests(t *testing.T) {
	archive := testimage.OldDocker(testimage.New(nil, testimage.Layer("a", 3<<20)))
	gaveUp := make(chan struct{})
	var imports atomic.Int32
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/pin/add"):
		case imports.Add(1) == 1:
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Error("the first import ends as if it were complete")
			}
			close(gaveUp)
		default:
			afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
		}
	}))
	defer node.Close()
	dst, err := ToKubo(newNode(t, node.URL, ""), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	dst.stall = 500 * time.Millisecond
	rests := io.MultiReader(bytes.NewReader(archive[:2<<20]), waitFor(gaveUp), bytes.NewReader(archive[2<<20:]))
	if _, err := converter.Convert(t.Context(), source.FromArchive(rests), dst, converter.Options{Compression: blob.Uncompressed}); err != nil {
		t.Error(err)
	}
	if n := imports.Load(); n != 2 {
		t.Errorf("there are %d imports, want 2", n)
	}
}

// A node that takes nothing and is alive, as during garbage collection, is waited for,
// and one line says so.
func TestKuboThatCollectsGarbageIsWaitedFor(t *testing.T) {
	archive := testimage.OldDocker(testimage.New(nil, testimage.Layer("a", 8<<20)))
	var (
		asked     atomic.Int32
		collected = make(chan struct{})
		mu        sync.Mutex
		notes     []string
		before    int // how many notes there were when garbage was collected
	)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			if asked.Add(1) == 3 {
				mu.Lock()
				before = len(notes)
				mu.Unlock()
				close(collected)
			}
		case strings.HasSuffix(r.URL.Path, "/dag/import"):
			<-collected
			afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
		}
	}))
	defer node.Close()
	dst, err := ToKubo(newNode(t, node.URL, ""), func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, fmt.Sprintf(format, args...))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	dst.stall, dst.pin = 200*time.Millisecond, 200*time.Millisecond
	if _, err := converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, converter.Options{Compression: blob.Uncompressed}); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if before != 1 || !strings.Contains(notes[0], "alive and takes nothing for now") {
		t.Errorf("%d notes, of all of %q", before, notes)
	}
}

// A node that stops in the middle is named as such.
func TestKuboThatStopsIsNamed(t *testing.T) {
	archive := testimage.OldDocker(testimage.New(nil, testimage.Layer("a", 8<<20)))
	var node *httptest.Server
	node = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1<<20)
		node.Listener.Close()
		panic(http.ErrAbortHandler)
	}))
	defer node.Close()
	dst, err := ToKubo(newNode(t, node.URL, ""), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	_, err = converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, converter.Options{Compression: blob.Uncompressed})
	if !errors.Is(err, errDied) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v", err)
	}
}

// waitFor is a reader without bytes that ends when done is closed.
type waitFor <-chan struct{}

func (done waitFor) Read([]byte) (int, error) {
	<-done
	return 0, io.EOF
}

func TestKuboIsGivenTheToken(t *testing.T) {
	var got []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.Header.Get("Authorization"))
		if strings.HasSuffix(r.URL.Path, "/dag/import") {
			afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
		}
	}))
	defer node.Close()
	dst, err := ToKubo(newNode(t, node.URL, "secret"), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if _, err := converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(testimage.OldDocker(testimage.New(nil, testimage.Layer("a", 10))))), dst, converter.Options{}); err != nil {
		t.Fatal(err)
	}
	want := "/api/v0/dag/import Bearer secret, /api/v0/pin/add Bearer secret"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("requests are %s; want %s", s, want)
	}
}

func newNode(t *testing.T, api, token string) *kubo.Node {
	t.Helper()
	node, err := kubo.NewNode(api, token)
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// afterReading answers when the whole import was read, with the root that its
// second CAR names.
func afterReading(answer func(w http.ResponseWriter, root string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		form, err := r.MultipartReader()
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, lastRoot(form))
	}
}

func lastRoot(form *multipart.Reader) string {
	var last []byte
	for {
		part, err := form.NextPart()
		if err != nil {
			return carRoot(last)
		}
		last, _ = io.ReadAll(part)
	}
}

func answerRoot(w io.Writer, root, pinError string) {
	var line struct{ Root importedRoot }
	line.Root.Cid.Link = root
	line.Root.PinErrorMsg = pinError
	json.NewEncoder(w).Encode(line)
}

// carRoot returns the one root of a CAR that has no blocks.
func carRoot(car []byte) string {
	const address = 36 // bytes of a CIDv1 with sha2-256
	_, after, found := bytes.Cut(car, []byte{0xd8, 0x2a, 0x58, address + 1, 0})
	if !found {
		return ""
	}
	c, err := cid.Cast(after[:address])
	if err != nil {
		return ""
	}
	return c.String()
}
