package fill

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// stopping gives the first bytes of a blob at once, and waits before the rest.
type stopping struct {
	io.ReadSeeker
	at    int64
	until <-chan struct{}
}

func (s *stopping) Read(b []byte) (int, error) {
	at, _ := s.Seek(0, io.SeekCurrent)
	if at >= s.at {
		<-s.until
	} else {
		b = b[:min(int64(len(b)), s.at-at)]
	}
	return s.ReadSeeker.Read(b)
}

// A client that asks for many blobs and leaves causes a limited number of fills, and
// does not keep the blobs of other clients out of the cache.
func TestAbandonedFillsAreBounded(t *testing.T) {
	const asked, leaves = 3 * maxIdle, 64
	held := make(chan struct{})
	g := &testGateway{body: func(r io.ReadSeeker) io.ReadSeeker { return &stopping{r, leaves / 2 * leafLen, held} }}
	var blobs []Blob
	contents := map[string][]byte{}
	for i := range asked {
		content := random(byte(i), leaves*leafLen)
		content[0], content[1] = byte(i), byte(i>>8)
		im, blob := one(t, content)
		g.images = append(g.images, im)
		blobs, contents[blob.key()] = append(blobs, blob), content
	}
	b := serve(t, t.TempDir(), room, g)
	b.config.Grace = time.Hour
	for _, blob := range blobs {
		ctx, leave := context.WithCancel(t.Context())
		c := &client{want: contents[blob.key()], slow: leave}
		if err := b.Copy(ctx, b.session, blob, nil, c); !errors.Is(err, context.Canceled) || c.n == 0 {
			t.Fatalf("a client that leaves gets %d bytes and %v", c.n, err)
		}
	}
	b.mu.Lock()
	idle := 0
	for _, fl := range b.places {
		if fl.lives() {
			idle++
		}
	}
	b.mu.Unlock()
	if idle == 0 || idle > maxIdle {
		t.Errorf("of %d fills without readers, %d go on", asked, idle)
	}
	close(held)
	b.wait()
	last := blobs[len(blobs)-1]
	check(t, b.get(t.Context(), last, contents[last.key()], nil))
	b.mustKeep(t, last, contents[last.key()])
}

// A client that asks for a blob by its own digest gets it, even if another client asked
// first for the same blob under a false digest.
func TestLieAboutABlobDoesNotHarmItsOtherReaders(t *testing.T) {
	content := random(40, large/4)
	honest, blob := one(t, content)
	wrong := digest.FromString("something else")
	liar := publish(t, map[digest.Digest][]byte{wrong: content})
	held := make(chan struct{})
	g := &testGateway{images: []*image{honest, liar}, body: func(r io.ReadSeeker) io.ReadSeeker { return &stopping{r, large / 8, held} }}
	b := serve(t, t.TempDir(), room, g)
	var all sync.WaitGroup
	began := make(chan struct{})
	all.Go(func() {
		c := &client{want: content, slow: sync.OnceFunc(func() { close(began) })}
		if err := b.Copy(t.Context(), b.session, liar.blob(wrong), nil, c); !errors.Is(err, ErrDigest) || c.wrong || c.n >= int64(len(content)) {
			t.Errorf("by a false digest, %d bytes came: %v", c.n, err)
		}
	})
	<-began
	joined := sync.OnceFunc(func() { close(held) })
	for range 20 {
		all.Go(func() {
			c := &client{want: content, slow: joined}
			if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong || c.n != int64(len(content)) {
				t.Errorf("by its digest, %d bytes of %d came: %v", c.n, len(content), err)
			}
		})
	}
	all.Wait()
	check(t, b.get(t.Context(), blob, content, nil))
	b.mustKeep(t, blob, content)
}

// Readers do not wait for another process that hangs in the middle of a blob.
func TestHangingProcessKeepsNoReaderWaiting(t *testing.T) {
	content := random(41, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	dir := t.TempDir()
	b := serve(t, dir, room, g)
	b.config.Patience = 50 * time.Millisecond
	file, err := b.session.Resolve(t.Context(), blob.Place)
	check(t, err)
	theirs, err := store.Open(dir).NewCache(store.CacheConfig{MaxSize: room}).BeginBlob(file.CID, file.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	_, err = theirs.WriteAt(content[:100*leafLen], 0)
	check(t, err)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { check(t, b.get(t.Context(), blob, content, nil)) })
	}
	all.Wait()
}

// A client that asks while the filler closes gets the whole blob, though it is not kept.
func TestClosingCutsOffNoReader(t *testing.T) {
	content := random(42, large/16)
	g := &testGateway{}
	var blobs []Blob
	for i := range 20 {
		c := append([]byte{byte(i)}, content...)
		im, blob := one(t, c)
		g.images, blobs = append(g.images, im), append(blobs, blob)
	}
	b := serve(t, t.TempDir(), room, g)
	var all sync.WaitGroup
	for i, blob := range blobs {
		for range 4 {
			all.Go(func() { check(t, b.get(t.Context(), blob, append([]byte{byte(i)}, content...), nil)) })
			all.Go(func() { _ = b.ahead(blob, len(content)+1) }) // fails once the filler is closed
		}
		if i == len(blobs)/2 {
			all.Go(func() { check(t, b.Close()) })
		}
	}
	all.Wait()
	b.mustBeClean(t)
}

// A dropped fill ends at once, and leaves no files. Its readers get the rest past the
// cache.
func TestDroppedFillsLeaveNothing(t *testing.T) {
	content := random(44, large/4)
	im, blob := one(t, content)
	held := make(chan struct{})
	g := &testGateway{images: []*image{im}, body: func(r io.ReadSeeker) io.ReadSeeker { return &stopping{r, large / 8, held} }}
	b := serve(t, t.TempDir(), room, g)
	began := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		c := &client{want: content, slow: sync.OnceFunc(func() { close(began) })}
		if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong || c.n != int64(len(content)) {
			t.Errorf("%d bytes came: %v", c.n, err)
		}
	})
	<-began
	b.Drop(blob.Root)
	close(held)
	all.Wait()
	if _, err := store.Open(b.dir).Open(t.Context(), blob.Root, blob.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dropped blob is in the store: %v", err)
	}
	b.mustBeClean(t)
}
