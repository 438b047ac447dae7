package fill

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

const (
	large = 20<<20 + 5
	room  = 1 << 30
)

// A gateway gets one request for a blob and sends its bytes once, however many clients
// there are.
func TestManyReadersCostOneRequest(t *testing.T) {
	content := random(1, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}, limiter: newLimiter(50 << 20)}
	b := serve(t, t.TempDir(), room, g)
	const clients = 100
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { check(t, b.get(t.Context(), blob, content, nil)) })
	}
	all.Wait()
	if sent := g.bytes.Load(); sent != int64(len(content)) || g.asked.Load() != 1 {
		t.Errorf("the gateway sent %d bytes of %d in %d answers", sent, len(content), g.asked.Load())
	}
	b.mustKeep(t, blob, content)
	t.Logf("%d clients, %.3f of the blob from the gateway", clients, float64(g.bytes.Load())/float64(len(content)))
}

// Parts come in the order in which clients want them, and no byte comes twice.
func TestPartsInAnyOrderComeOnce(t *testing.T) {
	content := random(2, large)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	b := serve(t, t.TempDir(), room, g)
	parts := []gateway.Range{{First: large - 1, Last: -1}, {First: -70_000, Last: -1}, {First: 0, Last: 0}, {First: 0, Last: -1}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		from := r.Int64N(large)
		parts = append(parts, gateway.Range{First: from, Last: from + r.Int64N(300_000)})
	}
	r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	check(t, b.get(t.Context(), blob, content, &parts[0]))
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { check(t, b.get(t.Context(), blob, content, &parts[i])) })
	}
	all.Wait()
	check(t, b.get(t.Context(), blob, content, nil))
	b.mustKeep(t, blob, content)
	if err := b.get(t.Context(), blob, content, &gateway.Range{First: large, Last: -1}); !errors.Is(err, gateway.ErrRange) {
		t.Errorf("a part after the end: %v", err)
	}
	t.Logf("%d parts, %d answers, %.3f of the blob from the gateway", len(parts), g.asked.Load(), float64(g.bytes.Load())/large)
	if sent := g.bytes.Load(); sent > large*110/100 {
		t.Errorf("the gateway sent %d bytes of %d", sent, large)
	}
}

// mustKeep fails the test unless the cache has the blob.
func (b *bench) mustKeep(t testing.TB, blob Blob, content []byte) {
	t.Helper()
	b.wait()
	f, err := store.Open(b.dir).Open(t.Context(), blob.Root, blob.Path)
	if err != nil {
		t.Errorf("the blob is not in the store: %v", err)
		return
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || digest.FromBytes(got) != digest.FromBytes(content) || f.Digest != blob.Digest {
		t.Errorf("the blob is %s of %d bytes: %v", f.Digest, len(got), err)
	}
	b.mustBeClean(t)
}

// mustBeClean fails the test if tmp has any file.
func (b *bench) mustBeClean(t testing.TB) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(b.dir, "cache", "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
		t.Errorf("tmp has %v: %v", left, err)
	}
}

// wait waits for all fills to end.
func (b *bench) wait() {
	for {
		b.mu.Lock()
		var under *fill
		for _, under = range b.places {
			break
		}
		b.mu.Unlock()
		if under == nil {
			return
		}
		<-under.ended
	}
}

// A new version costs fetching the leaves that changed, and short gaps between them.
func TestNewVersionFetchesWhatChanged(t *testing.T) {
	old := random(3, large)
	content := slices.Concat(old[:5*leafLen], random(4, 30*leafLen), old[8*leafLen:200*leafLen], random(5, 10*leafLen), old[200*leafLen:])
	im, blob := one(t, old)
	next, blob2 := one(t, content)
	g := &testGateway{images: []*image{im, next}}
	b := serve(t, t.TempDir(), room, g)
	check(t, b.get(t.Context(), blob, old, nil))
	b.mustKeep(t, blob, old)
	const fresh = 40 * leafLen
	for _, how := range []string{"asked for", "prefetched"} {
		b = serve(t, b.dir, room, g)
		check(t, b.index.Learn(t.Context()))
		before := g.bytes.Load()
		if how == "prefetched" {
			check(t, b.ahead(blob2, len(content)))
		}
		check(t, b.get(t.Context(), blob2, content, nil))
		b.mustKeep(t, blob2, content)
		sent := g.bytes.Load() - before
		if sent < fresh || how == "prefetched" && sent > fresh+leafLen { // a request for the blob begins with the whole
			t.Errorf("%s: %d bytes came, %d are new", how, sent, fresh)
		}
		t.Logf("%s: %.3f of the new version came, %.3f is new", how, float64(sent)/float64(len(content)), fresh/float64(len(content)))
		b.drop(t, blob2)
	}
}

// drop removes a blob from the cache, as any process may.
func (b *bench) drop(t testing.TB, blob Blob) {
	t.Helper()
	check(t, os.Remove(filepath.Join(b.dir, "cache", "blobs", "sha256", blob.Digest.Encoded())))
}

// A leaf is fetched if the other blob with it was removed or has rotted.
func TestRottenLeavesOfOtherBlobsAreFetched(t *testing.T) {
	old := random(6, 100*leafLen)
	content := slices.Concat(random(7, 10*leafLen), old)
	im, blob := one(t, old)
	next, blob2 := one(t, content)
	g := &testGateway{images: []*image{im, next}}
	b := serve(t, t.TempDir(), room, g)
	for _, how := range []string{"rotten", "gone"} {
		check(t, b.get(t.Context(), blob, old, nil))
		b.mustKeep(t, blob, old)
		if how == "gone" {
			b.drop(t, blob)
		} else {
			rotten := slices.Concat(old[:leafLen*20], make([]byte, leafLen*60), old[leafLen*80:])
			check(t, os.WriteFile(filepath.Join(b.dir, "cache", "blobs", "sha256", blob.Digest.Encoded()), rotten, 0o644))
		}
		check(t, b.get(t.Context(), blob2, content, nil))
		b.mustKeep(t, blob2, content)
		b.drop(t, blob2)
		check(t, os.RemoveAll(filepath.Join(b.dir, "cache", "blobs")))
	}
}

// A blob that is published under the digest of another is not kept. A reader of the
// whole does not get its end, and it is not fetched again.
func TestBlobUnderFalseDigestIsNotKept(t *testing.T) {
	content := random(8, large/4)
	d := digest.FromString("something else")
	im := publish(t, map[digest.Digest][]byte{d: content})
	g := &testGateway{images: []*image{im}}
	b := serve(t, t.TempDir(), room, g)
	for range 3 {
		c := &client{want: content}
		err := b.Copy(t.Context(), b.session, im.blob(d), nil, c)
		if !errors.Is(err, ErrDigest) || c.wrong || c.n >= int64(len(content)) {
			t.Errorf("%d bytes came, and %v", c.n, err)
		}
		b.wait()
	}
	if sent := g.bytes.Load(); sent > int64(len(content))*2 {
		t.Errorf("%d bytes came of a blob of %d under a false digest", sent, len(content))
	}
	for _, dir := range []string{"blobs", "files"} {
		if left, _ := filepath.Glob(filepath.Join(b.dir, "cache", dir, "*")); len(left) > 0 {
			t.Errorf("the cache has %q", left)
		}
	}
	b.mustBeClean(t)
}

// If a gateway breaks off or lies, another goes on, and no client notices. If there is
// no other gateway, no wrong byte is sent or kept.
func TestGatewayFailuresGiveNoWrongByte(t *testing.T) {
	content := random(9, large/4)
	im, blob := one(t, content)
	for name, body := range map[string]func(io.ReadSeeker) io.ReadSeeker{
		"lies":       func(r io.ReadSeeker) io.ReadSeeker { return &spoiled{r, nil} },
		"breaks off": func(r io.ReadSeeker) io.ReadSeeker { return &spoiled{r, http.ErrAbortHandler} },
	} {
		bad := &testGateway{images: []*image{im}, body: body}
		alone := serve(t, t.TempDir(), room, bad)
		c := &client{want: content}
		if err := alone.Copy(t.Context(), alone.session, blob, nil, c); err == nil || c.wrong || c.n >= int64(len(content)) {
			t.Errorf("a gateway that %s: %d bytes and %v", name, c.n, err)
		}
		good := &testGateway{images: []*image{im}}
		b := serve(t, t.TempDir(), room, bad, good)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { check(t, b.get(t.Context(), blob, content, nil)) })
		}
		all.Wait()
		b.mustKeep(t, blob, content)
		t.Logf("beside a gateway that %s, %.3f of the blob in %d answers", name, float64(good.bytes.Load()+bad.bytes.Load())/float64(len(content)), good.asked.Load()+bad.asked.Load())
	}
}

// spoiled gives a wrong byte, or fails, in the middle of a blob.
type spoiled struct {
	io.ReadSeeker
	err error
}

func (s *spoiled) Read(b []byte) (int, error) {
	at, _ := s.Seek(0, io.SeekCurrent)
	n, err := s.ReadSeeker.Read(b)
	const wrong = large/8 + 100
	if at <= wrong && wrong < at+int64(n) {
		if s.err != nil {
			panic(s.err)
		}
		b[wrong-at] ^= 1
	}
	return n, err
}

// A fill that fails leaves its leaves to the next one, which fetches the rest. Leaves
// that have rotted meanwhile are fetched again.
func TestFillThatFailsIsResumed(t *testing.T) {
	content := random(60, large/4)
	im, blob := one(t, content)
	const at = large/8 + 100 // where the gateway breaks off
	for _, rotten := range []bool{false, true} {
		g := &testGateway{images: []*image{im}, body: func(r io.ReadSeeker) io.ReadSeeker { return &spoiled{r, http.ErrAbortHandler} }}
		b := serve(t, t.TempDir(), room, g)
		c := &client{want: content}
		if err := b.Copy(t.Context(), b.session, blob, nil, c); err == nil || c.wrong {
			t.Errorf("a gateway that breaks off: %d bytes and %v", c.n, err)
		}
		b.wait()
		left, err := filepath.Glob(filepath.Join(b.dir, "cache", "tmp", "*"))
		if err != nil || len(left) != 1 {
			t.Fatalf("tmp has %v: %v", left, err)
		}
		want := int64(large/4 - at + 2*leafLen)
		if rotten {
			f, err := os.OpenFile(left[0], os.O_RDWR, 0)
			check(t, err)
			_, err = f.WriteAt(make([]byte, 10*leafLen), 20*leafLen)
			check(t, errors.Join(err, f.Close()))
			want += 11 * leafLen
		}
		g.body = nil
		before := g.bytes.Load()
		check(t, b.get(t.Context(), blob, content, nil))
		b.mustKeep(t, blob, content)
		if sent := g.bytes.Load() - before; sent > want {
			t.Errorf("rotten %v: the second fill fetched %d bytes of %d, and %d were missing", rotten, sent, len(content), want)
		}
	}
}

// A fill goes on for a while after its client has left. Then it ends.
func TestFillGoesOnForAWhileAfterClientsLeft(t *testing.T) {
	content := random(10, large)
	im, blob := one(t, content)
	held := make(chan struct{})
	g := &testGateway{images: []*image{im}, body: func(r io.ReadSeeker) io.ReadSeeker { return &holding{r, held} }}
	b := serve(t, t.TempDir(), room, g)
	b.config.GraceBytes = large
	leave := func() {
		ctx, cancel := context.WithCancel(t.Context())
		c := &client{want: content, slow: cancel}
		if err := b.Copy(ctx, b.session, blob, nil, c); !errors.Is(err, context.Canceled) || c.wrong || c.n == 0 {
			t.Errorf("a client that leaves gets %d bytes and %v", c.n, err)
		}
	}
	leave()
	close(held)
	b.mustKeep(t, blob, content)

	g.body = func(r io.ReadSeeker) io.ReadSeeker { return &holding{r, t.Context().Done()} }
	b = serve(t, t.TempDir(), room, g)
	b.config.Grace = 10 * time.Millisecond
	leave()
	b.wait()
	if _, err := store.Open(b.dir).Open(t.Context(), blob.Root, blob.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a fill without readers: %v", err)
	}
	b.mustBeClean(t)
}

// holding gives the first half of a blob at once, and waits before the rest.
type holding struct {
	io.ReadSeeker
	until <-chan struct{}
}

func (h *holding) Read(b []byte) (int, error) {
	if at, _ := h.Seek(0, io.SeekCurrent); at > large/2 {
		<-h.until
	}
	return h.ReadSeeker.Read(b)
}

// A blob that was pulled once is served when all gateways are down, even after a
// restart.
func TestPulledBlobsOutliveGateways(t *testing.T) {
	content := random(11, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	b := serve(t, t.TempDir(), room, g)
	check(t, b.get(t.Context(), blob, content, nil))
	b.mustKeep(t, blob, content)
	g.dead.Store(true)
	for range 2 {
		check(t, b.get(t.Context(), blob, content, nil))
		check(t, b.get(t.Context(), blob, content, &gateway.Range{First: 100, Last: 200}))
		if n, err := b.session.Stat(t.Context(), blob.Place); n != int64(len(content)) {
			t.Errorf("the blob has %d bytes: %v", n, err)
		}
		b = serve(t, b.dir, room, g)
	}
	if _, err := b.session.Stat(t.Context(), ipfspath.Place{Root: blob.Root, Path: "blobs/other"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that does not exist: %v", err)
	}
}

// A blob that is in many images is filled once.
func TestBlobOfManyImagesIsFilledOnce(t *testing.T) {
	content := random(12, large/4)
	d := digest.FromBytes(content)
	g := &testGateway{limiter: newLimiter(50 << 20)}
	for i := range 8 {
		other := random(byte(20+i), 100)
		g.images = append(g.images, publish(t, map[digest.Digest][]byte{d: content, digest.FromBytes(other): other}))
	}
	b := serve(t, t.TempDir(), room, g)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() { check(t, b.get(t.Context(), g.images[i%8].blob(d), content, nil)) })
	}
	all.Wait()
	b.mustKeep(t, g.images[3].blob(d), content)
	t.Logf("8 images, %.3f of the blob from the gateway", float64(g.bytes.Load())/float64(len(content)))
}

// A blob passes by the cache if it is too large, or if another process began to fetch it
// and ended.
func TestBlobsThatCannotBeKeptPassByTheCache(t *testing.T) {
	content := random(13, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	small := serve(t, t.TempDir(), int64(len(content))-1, g)
	check(t, small.get(t.Context(), blob, content, nil))
	small.wait()
	small.mustBeClean(t)

	dir := t.TempDir()
	file, err := small.session.Resolve(t.Context(), blob.Place)
	check(t, err)
	theirs, err := store.Open(dir).NewCache(store.CacheConfig{MaxSize: room}).BeginBlob(file.CID, file.Size)
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, dir, room, g)
	check(t, b.get(t.Context(), blob, content, &gateway.Range{First: 100, Last: -1}))
	end := &client{want: content, slow: sync.OnceFunc(func() { check(t, theirs.Close()) })}
	_, err = theirs.WriteAt(content[:large/8], 0)
	check(t, err)
	if err := b.Copy(t.Context(), b.session, blob, nil, end); err != nil || end.wrong || end.n != int64(len(content)) {
		t.Errorf("the other process ended, and %d bytes came: %v", end.n, err)
	}
	b.wait()
	check(t, b.get(t.Context(), blob, content, nil))
	b.mustKeep(t, blob, content)
}

// Several processes that share a cache fetch a blob once.
func TestManyProcessesFetchABlobOnce(t *testing.T) {
	content := random(16, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}, limiter: newLimiter(20 << 20)}
	dir := t.TempDir()
	var all sync.WaitGroup
	var processes []*bench
	for range 4 {
		b := serve(t, dir, room, g)
		processes = append(processes, b)
		for range 10 {
			all.Go(func() { check(t, b.get(t.Context(), blob, content, nil)) })
		}
	}
	all.Wait()
	for _, b := range processes {
		b.wait()
	}
	processes[0].mustKeep(t, blob, content)
	sent := float64(g.bytes.Load()) / float64(len(content))
	if t.Logf("%d processes: %.3f of the blob from the gateway", len(processes), sent); sent > 2 {
		t.Error("the processes do not share the blob")
	}
}

// A cache that cannot be written fails no request, and reports that once.
func TestUnwritableCacheFailsNoRequest(t *testing.T) {
	content := random(14, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	dir := filepath.Join(t.TempDir(), "no directory")
	check(t, os.WriteFile(dir, nil, 0o644))
	b := serve(t, dir, room, g)
	var said []error
	b.cache.Configure(store.CacheConfig{MaxSize: room, Switched: func(err error) { said = append(said, err) }})
	check(t, b.get(t.Context(), blob, content, nil))
	check(t, b.get(t.Context(), blob, content, nil))
	b.wait()
	if len(said) != 1 || said[0] == nil {
		t.Errorf("the cache reported %v", said)
	}
}

// If the disk fills in the middle of a blob, all readers go on without the cache.
func TestDiskFullInTheMiddleFailsNoReader(t *testing.T) {
	content := random(15, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}, limiter: newLimiter(50 << 20)}
	b := serve(t, t.TempDir(), room, g)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			c := &client{want: content}
			if i == 0 {
				c.slow = sync.OnceFunc(func() { // a reader has got some bytes
					b.mu.Lock()
					defer b.mu.Unlock()
					for _, fl := range b.places {
						fl.stop(syscall.ENOSPC)
					}
				})
			}
			if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong || c.n != int64(len(content)) || c.started != 1 {
				t.Errorf("%d bytes came: %v", c.n, err)
			}
		})
	}
	all.Wait()
	b.wait()
}

// A few blobs are prefetched at a time, and their fills end if no client asks for them.
// A client does not wait for other prefetches.
func TestPrefetchIsAFewAtATime(t *testing.T) {
	held := make(chan struct{})
	g := &testGateway{body: func(r io.ReadSeeker) io.ReadSeeker { return &holding{r, held} }}
	b := serve(t, t.TempDir(), 2*room, g)
	b.config.Grace, b.config.GraceBytes = time.Hour, large
	var blobs []Blob
	var contents [][]byte
	for i := range 6 {
		content := random(byte(30+i), large)
		im, blob := one(t, content)
		g.images = append(g.images, im)
		blobs, contents = append(blobs, blob), append(contents, content)
	}
	for _, blob := range blobs {
		check(t, b.ahead(blob, large))
	}
	c := &client{want: contents[5]}
	ctx, leave := context.WithCancel(t.Context())
	c.slow = leave
	if err := b.Copy(ctx, b.session, blobs[5], nil, c); !errors.Is(err, context.Canceled) || c.n == 0 {
		t.Errorf("a client that asks for the last blob gets %d bytes and %v", c.n, err)
	}
	if n := g.asked.Load(); n < 1 || n > 4 {
		t.Errorf("the gateway was asked for %d blobs at once, and 3 are prefetched at a time", n)
	}
	close(held)
	for i, blob := range blobs {
		check(t, b.get(t.Context(), blob, contents[i], nil))
		b.mustKeep(t, blob, contents[i])
	}
	if sent := g.bytes.Load(); sent > 6*large*101/100 {
		t.Errorf("%d bytes of %d came", sent, 6*large)
	}

	g.body = func(r io.ReadSeeker) io.ReadSeeker { return &holding{r, t.Context().Done()} }
	b = serve(t, t.TempDir(), 2*room, g)
	b.config.Grace = 10 * time.Millisecond
	for _, blob := range blobs {
		check(t, b.ahead(blob, large))
	}
	b.wait()
	b.mustBeClean(t)
}
