package trustless

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A node is the simplest gateway with blocks: its CARs hold the blocks on the way to the
// requested content, and all blocks of the content.
type node struct {
	blocks  map[string][]byte // by multihash
	files   map[string][]byte // content, by CID and by path below the root
	refuses map[gateway.Format]bool
	damage  func(f gateway.Format, body []byte) []byte // or nil
}

// published is an image's directory: a manifest, a blob of three levels of
// nodes, and many tags, which make the directory a sharded one.
type published struct {
	node
	root     cid.Cid
	manifest []byte
	blob     []byte
	file     *unixfs.File
}

func publish(t testing.TB, p unixfs.Profile) *published {
	t.Helper()
	return publishOf(t, p, 300_000, 3000) // 1,500 leaves
}

func publishOf(t testing.TB, p unixfs.Profile, bytes, manifests int) *published {
	t.Helper()
	pub := &published{manifest: []byte(`{"a":"manifest"}`), blob: random(bytes)}
	pub.blocks, pub.files = map[string][]byte{}, map[string][]byte{}
	put := func(b unixfs.Block) { pub.blocks[string(b.CID.Hash())] = b.Data }
	files := map[string]unixfs.Node{}
	add := func(at string, content []byte, leaf int) *unixfs.File {
		table := p.NewTable()
		for from := 0; from < len(content); from += leaf {
			data := content[from:min(from+leaf, len(content))]
			table.Add(data)
			put(table.Block(len(table.Leaves)-1, data))
		}
		f, err := p.Layout(table)
		if err != nil {
			t.Fatal(err)
		}
		for _, nd := range f.Nodes {
			put(nd)
		}
		if len(content) == 0 {
			put(table.Block(0, nil))
		}
		files[at] = f.Node
		pub.files[f.CID.String()], pub.files[at] = content, content
		return f
	}
	pub.file = add("app/blobs/b", pub.blob, 200)
	add("app/blobs/empty", nil, 1)
	add("app/manifests/v1", pub.manifest, 1000)
	for i := range manifests {
		add(fmt.Sprintf("app/manifests/sha256:%064d", i), pub.manifest, 1000)
	}
	dir, err := p.Tree(context.Background(), files, func(b unixfs.Block) error {
		put(b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	pub.root = dir.CID
	return pub
}

func (p *published) at(path string) ipfspath.Place { return ipfspath.Place{Root: p.root, Path: path} }

func (n *node) fake() fake {
	return func(r *http.Request) *http.Response {
		format := map[string]gateway.Format{"": gateway.Plain, "car": gateway.CAR, "raw": gateway.Raw}[r.URL.Query().Get("format")]
		if n.refuses[format] {
			return status(http.StatusNotAcceptable)(r)
		}
		first, below, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/ipfs/"), "/")
		c := cid.MustParse(first)
		var body []byte
		header := http.Header{}
		switch format {
		case gateway.Plain:
			content, ok := n.files[below]
			if below == "" {
				content, ok = n.files[first]
			}
			if !ok {
				return status(http.StatusNotFound)(r)
			}
			return honest(n.damaged(gateway.Plain, content), nil)(r)
		case gateway.Raw:
			body = n.blocks[string(c.Hash())]
			header.Set("Content-Type", "application/vnd.ipld.raw")
		case gateway.CAR:
			body = n.car(c, below, r.URL.Query().Get("dag-scope") == "entity")
			header.Set("Content-Type", "application/vnd.ipld.car; version=1")
		}
		return response(200, header, bytes.NewReader(n.damaged(format, body)))
	}
}

func (n *node) damaged(f gateway.Format, body []byte) []byte {
	if n.damage == nil {
		return body
	}
	return n.damage(f, bytes.Clone(body))
}

func (n *node) car(root cid.Cid, below string, whole bool) []byte {
	var b bytes.Buffer
	w, err := car.NewWriter(&b, root)
	if err != nil {
		panic(err)
	}
	get := func(_ context.Context, c cid.Cid) ([]byte, error) {
		data, ok := n.blocks[string(c.Hash())]
		if !ok {
			return nil, fmt.Errorf("%s: %w", c, fs.ErrNotExist)
		}
		return data, w.Put(unixfs.Block{CID: c, Data: data})
	}
	end, err := unixfs.Walk(context.Background(), get, root, below)
	if err != nil {
		return b.Bytes() // proves that the path does not exist
	}
	data, _ := get(context.Background(), end)
	if whole {
		size, _ := unixfs.FileSize(unixfs.Block{CID: end, Data: data})
		unixfs.Stream(context.Background(), get, end, 0, size, func([]byte) error { return nil })
	}
	return b.Bytes()
}

func session(nodes ...*published) Session {
	var gateways []fake
	for _, n := range nodes {
		gateways = append(gateways, n.fake())
	}
	return sessionWith(gateways...)
}

// sessionWith returns a session with gateways that are asked in their order.
func sessionWith(gateways ...fake) Session {
	var groups []gateway.Group
	for i, g := range gateways {
		groups = append(groups, gateway.Group{Upstreams: []*url.URL{upstream(i)}, Transport: g})
	}
	return Session{Client: NewClient(Config{Pool: gateway.NewPool(gateway.Config{Groups: groups})})}
}

// A gateway that serves blocks suffices, whatever other formats it refuses.
func TestVerified(t *testing.T) {
	for _, p := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		for name, refuses := range map[string]map[gateway.Format]bool{
			"everything": {}, "trustless only": {gateway.Plain: true}, "blocks only": {gateway.Plain: true, gateway.CAR: true}, "no CARs": {gateway.CAR: true},
		} {
			pub := publish(t, p)
			pub.refuses = refuses
			s := session(pub)
			for range 2 { // cold and warm
				if err := pub.check(t, s); err != nil {
					t.Errorf("%s, %s: %v", p, name, err)
				}
			}
			if _, err := s.ReadFile(t.Context(), pub.root, "app/manifests/v2", 1000); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: a missing file: %v", p, name, err)
			}
		}
	}
}

func (p *published) check(t *testing.T, s Session) error {
	t.Helper()
	got, err := s.ReadFile(t.Context(), p.root, "app/manifests/v1", 1000)
	if err != nil || !bytes.Equal(got, p.manifest) {
		return fmt.Errorf("the manifest is %q, %w", got, err)
	}
	if size, err := s.Stat(t.Context(), p.at("app/blobs/b")); err != nil || size != int64(len(p.blob)) {
		return fmt.Errorf("the size is %d, %w", size, err)
	}
	for _, part := range []*gateway.Range{nil, {First: 0, Last: 0}, {First: 199, Last: 200}, {First: 1000, Last: 250_000}, {First: 299_999, Last: -1}, {First: -1, Last: -1}, {First: 0, Last: -1}} {
		var k sink
		from, to := int64(0), int64(len(p.blob))
		if part != nil {
			from, to = part.Resolve(to)
		}
		if err := s.Copy(t.Context(), p.at("app/blobs/b"), part, &k); err != nil {
			return fmt.Errorf("copying %v: %w", part, err)
		}
		if !bytes.Equal(k.Bytes(), p.blob[from:to]) || k.from != from || k.to != to {
			return fmt.Errorf("copying %v gives %d other bytes of [%d, %d)", part, k.Len(), k.from, k.to)
		}
	}
	var k sink
	if err := s.Copy(t.Context(), p.at("app/blobs/empty"), nil, &k); err != nil || k.Len() > 0 || k.starts != 1 {
		return fmt.Errorf("nothing is %d bytes, %w", k.Len(), err)
	}
	if err := s.Copy(t.Context(), p.at("app/blobs/b"), &gateway.Range{First: 400_000, Last: -1}, &k); !errors.Is(err, gateway.ErrRange) {
		return fmt.Errorf("beyond the end: %w", err)
	}
	return nil
}

// Every byte that a gateway changes is noticed, and another gateway continues.
func TestFalseBytes(t *testing.T) {
	pub, liar := publish(t, unixfs.V0), publish(t, unixfs.V0)
	var lies atomic.Int64
	for _, format := range []gateway.Format{gateway.Plain, gateway.CAR, gateway.Raw} {
		for at := range 9 {
			liar.refuses = map[gateway.Format]bool{gateway.Plain: format != gateway.Plain, gateway.CAR: format == gateway.Raw}
			liar.damage = func(f gateway.Format, body []byte) []byte {
				if f == format && len(body) > 0 {
					lies.Add(1)
					body[at*len(body)/9] ^= 1
				}
				return body
			}
			if err := pub.check(t, session(liar, pub)); err != nil {
				t.Fatalf("format %d, byte %d/9: %v", format, at, err)
			}
			var k sink
			err := session(liar).Copy(t.Context(), pub.at("app/blobs/b"), nil, &k)
			if !bytes.HasPrefix(pub.blob, k.Bytes()) || err == nil && k.Len() < len(pub.blob) {
				t.Fatalf("format %d, byte %d/9: false bytes, %v", format, at, err)
			}
		}
	}
	if lies.Load() == 0 {
		t.Error("no gateway lied")
	}
}

// A gateway without the content does not prove that the content is absent.
func TestAbsenceIsProved(t *testing.T) {
	pub := publish(t, unixfs.V1)
	gone := status(http.StatusNotFound)
	s := sessionWith(gone)
	if _, err := s.ReadFile(t.Context(), pub.root, "app/manifests/v1", 1000); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	empty := publish(t, unixfs.V1)
	empty.damage = func(gateway.Format, []byte) []byte { return nil }
	for _, nodes := range [][]*published{{empty}, {empty, pub}} {
		_, err := session(nodes...).ReadFile(t.Context(), pub.root, "app/manifests/no", 1000)
		if proved := errors.Is(err, fs.ErrNotExist); proved != (len(nodes) > 1) {
			t.Errorf("beside %d others: %v", len(nodes)-1, err)
		}
	}
}

// Reading an endless CAR of unwanted blocks ends, and its blocks are not remembered.
func TestEndlessCAR(t *testing.T) {
	pub := publish(t, unixfs.V1)
	junk := unixfs.V1.NewTable()
	junk.Add(random(1 << 20))
	var b bytes.Buffer
	w, err := car.NewWriter(&b, pub.root)
	if err != nil {
		t.Fatal(err)
	}
	header := b.Len()
	w.Put(junk.Block(0, random(1<<20)))
	read := 0
	endless := func(*http.Request) *http.Response {
		return response(200, http.Header{"Content-Type": {"application/vnd.ipld.car"}}, io.MultiReader(
			bytes.NewReader(b.Bytes()[:header]), &forever{b.Bytes()[header:], 0, &read}))
	}
	s := sessionWith(endless)
	if _, err := s.ReadFile(t.Context(), pub.root, path.Join("app", "manifests", "v1"), 1000); err == nil {
		t.Error("junk is a manifest")
	}
	if read > 2*maxPath || s.blocks.Bytes() > 0 {
		t.Errorf("%d bytes were read, and %d remembered", read, s.blocks.Bytes())
	}
}

// forever repeats a section of a CAR.
type forever struct {
	section []byte
	at      int
	read    *int
}

func (f *forever) Read(p []byte) (int, error) {
	n := copy(p, f.section[f.at:])
	f.at = (f.at + n) % len(f.section)
	*f.read += n
	return n, nil
}
