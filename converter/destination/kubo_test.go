package destination

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A node can report an error in several places. None of them passes for success. Real
// nodes are tested in tests/.
func TestKuboFailures(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 2<<20)))
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
	} {
		t.Run(name, func(t *testing.T) {
			node := httptest.NewServer(test.answer)
			defer node.Close()
			dst, err := ToKubo(newNode(t, node.URL, "secret"), t.Logf)
			if err != nil {
				t.Fatal(err)
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
		})
	}
}

// A node that neither takes blocks nor answers is given up.
func TestKuboThatFallsSilentIsGivenUp(t *testing.T) {
	image := oneLayer(t, 8<<20)
	var over chan struct{}
	node := func(_ http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 1<<20)
		<-over
	}
	testKuboInBubble(t, node, func(t *testing.T, dst *Kubo) {
		over = make(chan struct{})
		defer close(over)
		err := send(t.Context(), dst, image)
		if !errors.Is(err, errStalled) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error is %v", err)
		}
	})
}

// An image that is pinned stays so when the node does not answer the request that names
// the pin.
func TestKuboThatDoesNotNameThePin(t *testing.T) {
	image := oneLayer(t, 10)
	var over chan struct{}
	node := func(w http.ResponseWriter, r *http.Request) {
		if isCall(r, "pin/add") {
			<-over
			return
		}
		afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
	}
	testKuboInBubble(t, node, func(t *testing.T, dst *Kubo) {
		over = make(chan struct{})
		defer close(over)
		var notes notes
		dst.logf = notes.add
		if err := send(t.Context(), dst, image); err != nil {
			t.Error(err)
		}
		if len(notes.all()) != 1 || !strings.Contains(notes.all()[0], "could not be named") {
			t.Errorf("notes are %q", notes.all())
		}
	})
}

// An import into which nothing comes for too long is given up, since the node can
// collect no garbage meanwhile. In the end everything is sent again.
func TestKuboWhileTheSourceRests(t *testing.T) {
	image := oneLayer(t, 3<<20)
	var gaveUp chan struct{}
	var imports atomic.Int32
	node := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !isCall(r, "dag/import"):
		case imports.Add(1) == 1:
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				t.Error("the first import ends as if it were complete")
			}
			close(gaveUp)
		default:
			afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
		}
	}
	testKuboInBubble(t, node, func(t *testing.T, dst *Kubo) {
		gaveUp = make(chan struct{})
		sent := 0
		err := image.WriteBlocks(t.Context(), func(b unixfs.Block) error {
			if sent < 2<<20 && sent+len(b.Data) >= 2<<20 {
				<-gaveUp
			}
			sent += len(b.Data)
			return dst.PutEarly(t.Context(), b)
		})
		if err != nil {
			t.Error(err)
		}
		if err := dst.Commit(t.Context(), image); err != nil {
			t.Error(err)
		}
		if n := imports.Load(); n != 2 {
			t.Errorf("there are %d imports, want 2", n)
		}
	})
}

// The converter waits for a node that accepts no bytes but is alive, as during garbage
// collection, and says so in one line.
func TestConverterWaitsForKuboThatCollectsGarbage(t *testing.T) {
	image := oneLayer(t, 8<<20)
	var imports, asked atomic.Int32
	node := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isCall(r, "version"):
			asked.Add(1)
		case isCall(r, "dag/import"):
			imports.Add(1)
			time.Sleep(3*kuboStall + kuboStall/2) // the garbage collection, by the bubble's clock
			afterReading(func(w http.ResponseWriter, root string) { answerRoot(w, root, "") })(w, r)
		}
	}
	testKuboInBubble(t, node, func(t *testing.T, dst *Kubo) {
		var notes notes
		dst.logf = notes.add
		if err := send(t.Context(), dst, image); err != nil {
			t.Error(err)
		}
		if imports.Load() != 1 || asked.Load() != 3 {
			t.Errorf("there are %d imports, want 1, and the node was asked %d times whether it is alive, want 3", imports.Load(), asked.Load())
		}
		if len(notes.all()) != 1 || !strings.Contains(notes.all()[0], "alive and takes nothing for now") {
			t.Errorf("notes are %q, want one", notes.all())
		}
	})
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

// testKuboInBubble runs a test with a destination in a node that is reached through
// memory. The clock of the bubble stands still while anything runs, so waits have the
// lengths that users see, and no load of the machine makes one too long.
func testKuboInBubble(t *testing.T, node http.HandlerFunc, test func(t *testing.T, dst *Kubo)) {
	synctest.Test(t, func(t *testing.T) {
		connections := make(memoryListener)
		server := &http.Server{Handler: node}
		served := make(chan struct{})
		go func() {
			defer close(served)
			server.Serve(connections)
		}()
		client := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			connections <- theirs
			return ours, nil
		}}
		defer func(original http.RoundTripper) { http.DefaultTransport = original }(http.DefaultTransport)
		http.DefaultTransport = client
		dst, err := ToKubo(newNode(t, "http://node.example", ""), t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		test(t, dst)
		if err := dst.Close(); err != nil {
			t.Error(err)
		}
		client.CloseIdleConnections()
		server.Close()
		<-served
	})
}

// A memoryListener accepts the connections that are sent to it.
type memoryListener chan net.Conn

func (l memoryListener) Accept() (net.Conn, error) {
	c, open := <-l
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l memoryListener) Close() error {
	close(l)
	return nil
}

func (l memoryListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// notes are the lines that a destination logs.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

func isCall(r *http.Request, command string) bool { return r.URL.Path == "/api/v0/"+command }

// oneLayer returns the tree of an image that has one layer of so many bytes.
func oneLayer(t *testing.T, size int) *tree.Tree {
	t.Helper()
	archive := testimage.OldDocker(testimage.New(nil, testimage.Layer("a", size)))
	dst := treeKeeper{dir: t.TempDir()}
	if _, err := converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), &dst, converter.Options{Compression: blob.Uncompressed}); err != nil {
		t.Fatal(err)
	}
	return dst.tree
}

// A treeKeeper is a destination that keeps the tree.
type treeKeeper struct {
	dir  string
	tree *tree.Tree
}

func (k *treeKeeper) TempDir() string { return k.dir }

func (k *treeKeeper) Commit(_ context.Context, t *tree.Tree) error {
	k.tree = t
	return nil
}

func (k *treeKeeper) Close() error { return nil }

// send sends all blocks of a tree early, as a conversion does with those of its layers,
// and then the tree.
func send(ctx context.Context, dst *Kubo, image *tree.Tree) error {
	if err := image.WriteBlocks(ctx, func(b unixfs.Block) error { return dst.PutEarly(ctx, b) }); err != nil {
		return err
	}
	return dst.Commit(ctx, image)
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
