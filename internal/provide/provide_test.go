package provide

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The files of a test's root.
const (
	blobPath     = "team/app/blobs/layer"
	smallPath    = "team/app/blobs/small"
	emptyPath    = "team/app/blobs/empty"
	manifestPath = "team/app/manifests/v1"
	manyPath     = "many" // a directory that is sharded in the profiles V0 and V1
)

// many is how many entries the directory has.
const many = 1300

// A site is a provider with a store and a root in it.
type site struct {
	*httptest.Server
	provider *Provider
	store    *store.Store
	root     cid.Cid
	files    map[string][]byte
	built    map[string]*unixfs.File
	blocks   map[string]unixfs.Block // by multihash

	mu    sync.Mutex
	asked []string
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{3}).Read(b)
	return b
}

// newSite serves a store with small files, a sharded directory, and a blob of several leaves.
// Some of these leaves are equal.
func newSite(t testing.TB, profile unixfs.Profile, configure func(*Config)) *site {
	t.Helper()
	s := &site{files: map[string][]byte{}, built: map[string]*unixfs.File{}, blocks: map[string]unixfs.Block{}}
	leaf := random(profile.LeafSize())
	s.files[blobPath] = slices.Concat(leaf, make([]byte, 2*profile.LeafSize()), leaf, []byte("end"))
	s.files[smallPath] = []byte("a small blob")
	s.files[emptyPath] = nil
	s.files[manifestPath] = []byte(`{"schemaVersion":2}`)
	for i := range many {
		s.files[fmt.Sprintf("%s/%d-%s", manyPath, i, strings.Repeat("x", 220))] = []byte("one of many")
	}
	dir := t.TempDir()
	s.store = store.Open(dir)
	im, err := s.store.BeginImport()
	check(t, err)
	defer im.Close()
	check(t, im.Lock(t.Context()))
	nodes, small := map[string]unixfs.Node{}, map[cid.Cid]unixfs.Block{}
	for path, content := range s.files {
		cutter := profile.NewCutter()
		cutter.Write(content)
		f, err := profile.Layout(cutter.Table())
		check(t, err)
		s.built[path], nodes[path] = f, f.Node
		for i := range f.Table.Leaves {
			s.put(f.Table.Block(i, content[f.Table.Start(i):f.Table.Leaves[i].End]))
		}
		for _, b := range f.Nodes {
			s.put(b)
		}
		if !strings.Contains(path, "/blobs/") {
			small[f.CID] = f.Table.Block(0, content)
			continue
		}
		tmp := filepath.Join(im.TempDir(), "blob")
		check(t, os.WriteFile(tmp, content, 0o600))
		check(t, im.Blob(tmp, digest.FromBytes(content), f))
	}
	for _, b := range small {
		check(t, im.Node(b))
	}
	root, err := profile.Tree(t.Context(), nodes, func(b unixfs.Block) error {
		s.put(b)
		return im.Node(b)
	})
	check(t, err)
	s.root = root.CID
	check(t, im.Commit(s.root, store.Record{}))
	s.serve(t, configure)
	return s
}

func (s *site) put(b unixfs.Block) { s.blocks[string(b.CID.Hash())] = b }

func (s *site) serve(t testing.TB, configure func(*Config)) {
	t.Helper()
	config := Config{Stores: []*store.Store{s.store}, Logger: zap.NewNop()}
	if configure != nil {
		configure(&config)
	}
	s.provider = New(config)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.String())
	s.mu.Unlock()
	req, ok := Parse(r)
	if !ok {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if err := s.provider.Serve(w, req); err != nil {
		http.Error(w, err.Error(), err.(*Failure).Status)
	}
}

func (s *site) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *site) get(t testing.TB, method, path string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	check(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	check(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// A buffer is a trustless.Sink.
type buffer struct{ bytes.Buffer }

func (b *buffer) Start(trustless.File, int64, int64) {}

// Our own client reads everything, in each format that it requests.
func TestOwnClientReadsEverything(t *testing.T) {
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		s := newSite(t, profile, nil)
		for _, refused := range []string{"nothing", "files", "files and CARs"} {
			t.Run(fmt.Sprintf("%s without %s", profile, refused), func(t *testing.T) {
				session := s.session(t, refused)
				for _, path := range []string{manifestPath, smallPath, emptyPath} {
					data, err := session.ReadFile(t.Context(), s.root, path, 1<<20)
					if err != nil || !bytes.Equal(data, s.files[path]) {
						t.Errorf("%s: %q, %v", path, data, err)
					}
				}
				entries, err := session.ReadDir(t.Context(), s.root, manyPath)
				if err != nil || len(entries) != many {
					t.Errorf("%d entries, %v", len(entries), err)
				}
				for _, path := range []string{"team/app/manifests/v2", "team/none/x", manyPath + "/none", manifestPath + "/x"} {
					if _, err := session.ReadFile(t.Context(), s.root, path, 1<<20); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s: %v", path, err)
					}
				}
				content := s.files[blobPath]
				at := ipfspath.Place{Root: s.root, Path: blobPath}
				for _, part := range []*gateway.Range{nil, {First: 5, Last: 9}, {First: int64(len(content)) - 10, Last: -1}, {First: 100, Last: 3 << 20}} {
					want := content
					if part != nil {
						from, to := part.Resolve(int64(len(content)))
						want = content[from:to]
					}
					var got buffer
					if err := session.Copy(t.Context(), at, part, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
						t.Errorf("%v: %d bytes of %d, %v", part, got.Len(), len(want), err)
					}
				}
			})
		}
	}
}

// session returns a client that is refused some forms.
func (s *site) session(t *testing.T, refused string) trustless.Session {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch format := r.URL.Query().Get("format"); {
		case format == "" && refused != "nothing", format == "car" && refused == "files and CARs":
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	u, err := url.Parse(front.URL)
	check(t, err)
	pool := gateway.NewPool(gateway.Config{Groups: []gateway.Group{{Upstreams: []*url.URL{u}, Transport: http.DefaultTransport}}})
	return trustless.Session{Client: trustless.NewClient(trustless.Config{Pool: pool}), Failed: func(f gateway.Failure) {
		if f.Strike {
			t.Error(f)
		}
	}}
}

// A path that does not exist costs our client one request.
func TestAbsenceIsProvedByOneCAR(t *testing.T) {
	s := newSite(t, unixfs.V1, nil)
	session := s.session(t, "nothing")
	_, err := session.ReadFile(t.Context(), s.root, "team/app/manifests/v2", 1<<20)
	if asked := s.requests(); !errors.Is(err, fs.ErrNotExist) || len(asked) != 1 {
		t.Errorf("%v, after %q", err, asked)
	}
}

// blocksBelow returns the hashes of all blocks below a block, in the order in which they first
// occur depth first.
func (s *site) blocksBelow(t testing.TB, c cid.Cid, seen map[string]bool) (hashes []string) {
	t.Helper()
	hash := string(c.Hash())
	if seen[hash] {
		return nil
	}
	seen[hash] = true
	hashes = []string{hash}
	links, err := unixfs.Links(s.blocks[hash])
	check(t, err)
	for _, l := range links {
		hashes = append(hashes, s.blocksBelow(t, l, seen)...)
	}
	return hashes
}

// carOf returns the hashes of the blocks of an answer, which must be verifiable.
func carOf(t testing.TB, body []byte) (hashes []string) {
	t.Helper()
	r, err := car.NewReader(bytes.NewReader(body))
	check(t, err)
	for {
		c, _, err := r.Next()
		if err == io.EOF {
			return hashes
		}
		check(t, err)
		data, err := r.Block()
		check(t, err)
		check(t, unixfs.Block{CID: c, Data: data}.Verify())
		hashes = append(hashes, string(c.Hash()))
	}
}

func (s *site) trail(t testing.TB, path string) []cid.Cid {
	t.Helper()
	trail, err := unixfs.Trail(t.Context(), func(_ context.Context, c cid.Cid) ([]byte, error) {
		return s.blocks[string(c.Hash())].Data, nil
	}, s.root, path)
	check(t, err)
	return trail
}

// A CAR has the blocks of its scope, in the order in which a walk meets them.
func TestCARHasTheBlocksOfItsScope(t *testing.T) {
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		s := newSite(t, profile, nil)
		table := s.built[blobPath].Table
		leaf := int64(profile.LeafSize())
		size := table.Size()
		way := []string{string(s.root.Hash())}
		for _, c := range s.trail(t, blobPath) {
			way = append(way, string(c.Hash()))
		}
		leaves := func(from, to int) (hashes []string) {
			for i := from; i < to; i++ {
				hashes = append(hashes, string(table.CID(i).Hash()))
			}
			return hashes
		}
		once := slices.Concat(leaves(0, 2), leaves(4, 5))
		for query, want := range map[string][]string{
			"dag-scope=block":             way,
			"dag-scope=entity&car-dups=y": slices.Concat(way, leaves(0, 5)),
			"dag-scope=entity":            slices.Concat(way, once),
			"dag-scope=all&car-dups=y":    slices.Concat(way, once),
			"":                            slices.Concat(way, once),
			"entity-bytes=0:*&car-dups=y": slices.Concat(way, leaves(0, 5)),
			fmt.Sprintf("entity-bytes=%d:%d", leaf-1, leaf):   slices.Concat(way, leaves(0, 2)),
			fmt.Sprintf("entity-bytes=%d:%d", leaf, leaf):     slices.Concat(way, leaves(1, 2)),
			fmt.Sprintf("entity-bytes=%d:*", size-1):          slices.Concat(way, leaves(4, 5)),
			"entity-bytes=-1:*":                               slices.Concat(way, leaves(4, 5)),
			"entity-bytes=-3:-2":                              slices.Concat(way, leaves(4, 5)),
			fmt.Sprintf("entity-bytes=%d:%d", size, size+100): way,
			"entity-bytes=10:5":                               way,
		} {
			resp, body, err := s.get(t, "GET", "/ipfs/"+s.root.String()+"/"+blobPath+"?format=car&"+query)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: %s, %v, %.100q", query, resp.Status, err, body)
			}
			if got := carOf(t, body); !slices.Equal(got, want) {
				t.Errorf("%s, %s: %d blocks, want %d", profile, query, len(got), len(want))
			}
		}
		for path, scopes := range map[string][]string{"": {"all"}, "team": {"all"}, manyPath: {"all", "entity"}, manifestPath: {"all", "entity"}} {
			for _, scope := range scopes {
				_, body, err := s.get(t, "GET", "/ipfs/"+s.root.String()+"/"+path+"?format=car&dag-scope="+scope)
				check(t, err)
				seen := map[string]bool{}
				var want []string
				for _, c := range append([]cid.Cid{s.root}, s.trail(t, path)...) {
					want = append(want, string(c.Hash()))
				}
				end := want[len(want)-1]
				for _, hash := range want[:len(want)-1] {
					seen[hash] = true
				}
				below := s.blocksBelow(t, s.blocks[end].CID, seen)
				want = append(want[:len(want)-1], below...)
				if scope == "entity" && path == manyPath {
					want = slices.DeleteFunc(want, func(hash string) bool { return bytes.Contains(s.blocks[hash].Data, []byte("one of many")) })
				}
				if got := carOf(t, body); !slices.Equal(got, want) {
					t.Errorf("%s, all of %q, %s: %d blocks, want %d", profile, path, scope, len(got), len(want))
				}
			}
		}
	}
}

// Each block of a root is served by its CID, including the leaves of blobs, and those of
// blobs that were added later.
func TestEveryBlockIsServedByItsCID(t *testing.T) {
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		s := newSite(t, profile, nil)
		for _, hash := range s.blocksBelow(t, s.root, map[string]bool{}) {
			b := s.blocks[hash]
			for _, c := range []cid.Cid{b.CID, cid.NewCidV1(b.CID.Type(), b.CID.Hash())} {
				resp, body, err := s.get(t, "GET", "/ipfs/"+c.String(), "Accept", "application/vnd.ipld.raw")
				if err != nil || resp.StatusCode != 200 || !bytes.Equal(body, b.Data) {
					t.Fatalf("%s: %s, %d bytes of %d, %v", c, resp.Status, len(body), len(b.Data), err)
				}
			}
			resp, _, _ := s.get(t, "HEAD", "/ipfs/"+b.CID.String()+"?format=raw")
			if resp.StatusCode != 200 || resp.ContentLength != int64(len(b.Data)) || resp.Header.Get("Content-Type") != rawType {
				t.Fatalf("HEAD of %s: %s, %d bytes, %v", b.CID, resp.Status, resp.ContentLength, resp.Header)
			}
		}
	}
}
