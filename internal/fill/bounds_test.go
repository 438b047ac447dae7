package fill

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A reader of one byte that has left does not cause the whole blob to be fetched.
func TestFillOfOneByteDoesNotFetchTheBlob(t *testing.T) {
	content := random(50, large)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}, limiter: newLimiter(8 << 20)}
	b := serve(t, t.TempDir(), room, g)
	b.config.Grace = 100 * time.Millisecond
	check(t, b.get(t.Context(), blob, content, &gateway.Range{First: 0, Last: 0}))
	b.wait()
	if sent := g.bytes.Load(); sent > large/4 {
		t.Errorf("the gateway sent %d bytes of %d for one byte", sent, large)
	}
	b.mustBeClean(t)
}

// A fill whose client wanted the whole blob and left goes on for GraceBytes only.
func TestGraceIsBoundedInBytes(t *testing.T) {
	content := random(51, large)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}, limiter: newLimiter(16 << 20)}
	b := serve(t, t.TempDir(), room, g)
	b.config.GraceBytes = 1 << 20
	ctx, leave := context.WithCancel(t.Context())
	c := &client{want: content, slow: leave}
	if err := b.Copy(ctx, b.session, blob, nil, c); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that left: %v", err)
	}
	b.wait()
	if sent := g.bytes.Load(); sent > large/2 {
		t.Errorf("the gateway sent %d bytes of %d", sent, large)
	}
	b.mustBeClean(t)
}

// The leaf tables of all fills have one budget. A blob beyond it passes by the cache.
func TestLeafTablesHaveOneBudget(t *testing.T) {
	content, other := random(52, large/4), random(53, large/4)
	im, blob := one(t, content)
	im2, blob2 := one(t, other)
	held := make(chan struct{})
	g := &testGateway{images: []*image{im, im2}}
	b := serve(t, t.TempDir(), room, g)
	const leaves = large/4/leafLen + 2
	tables := budget.New(leaves*bytesPerLeaf + leafLen + proofBuffer)
	b.tables = tables
	began := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		c := &client{want: content, slow: func() {
			select {
			case <-began:
			default:
				close(began)
				<-held
			}
		}}
		if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong {
			t.Errorf("the first client: %v", err)
		}
	})
	<-began
	check(t, b.get(t.Context(), blob2, other, nil))
	if f, err := store.Open(b.dir).Open(t.Context(), blob2.Root, blob2.Path); err == nil {
		f.Close()
		t.Error("a blob was kept whose leaf table does not fit the budget")
	}
	if tables.Held() == 0 {
		t.Error("a fill with a reader holds no memory")
	}
	close(held)
	all.Wait()
	b.wait()
	if n := tables.Held(); n != 0 {
		t.Errorf("%d bytes are held after all fills have ended", n)
	}
	check(t, b.get(t.Context(), blob2, other, nil))
	b.mustKeep(t, blob2, other)
}

// A publisher who repeats one leaf cannot make the cache write a large blob.
func TestRepetitionPassesByTheCache(t *testing.T) {
	content := bytes.Repeat(random(54, leafLen), (smallBlob+leafLen)/leafLen)
	im, blob := one(t, content)
	b := serve(t, t.TempDir(), room, &testGateway{images: []*image{im}})
	check(t, b.get(t.Context(), blob, content, nil))
	b.wait()
	if n := b.cache.Size(); n > 1<<20 {
		t.Errorf("the cache has %d bytes of a blob that is repetition", n)
	}
	found, err := b.session.Resolve(t.Context(), blob.Place)
	check(t, err)
	table := found.Table
	if !repeats(table) {
		t.Error("repeats reports false for a blob of one repeated leaf")
	}
}

// The other process puts the blob in its place, and writes its record a while later.
// The follower waits for the record, since no gateway answers any more.
func TestFollowerWaitsWhileTheOtherProcessCommits(t *testing.T) {
	content := random(55, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	dir := t.TempDir()
	b := serve(t, dir, room, g)
	found, err := b.session.Resolve(t.Context(), blob.Place)
	check(t, err)
	file, table := found.CID, found.Table
	theirs, err := store.Open(dir).NewCache(store.CacheConfig{MaxSize: room}).BeginBlob(file, table.Size())
	if err != nil {
		t.Fatal(err)
	}
	_, err = theirs.WriteAt(content[:len(content)-100], 0)
	check(t, err)
	g.dead.Store(true)
	began := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		c := &client{want: content, slow: sync.OnceFunc(func() { close(began) })}
		if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong || c.n != int64(len(content)) {
			t.Errorf("%d bytes of %d came: %v", c.n, len(content), err)
		}
	})
	<-began
	blobPath := filepath.Join(dir, "cache", "blobs", "sha256", blob.Digest.Encoded())
	check(t, os.MkdirAll(filepath.Dir(blobPath), 0o755))
	_, err = theirs.WriteAt(content[len(content)-100:], int64(len(content)-100))
	check(t, err)
	check(t, os.Rename(theirs.Path(), blobPath))
	check(t, theirs.Close()) // the record is still missing
	for range 20 {           // enough looks to give up
		<-time.After(lookAgain)
	}
	record, err := table.AppendBinary([]byte(blob.Digest.String() + "\n"))
	check(t, err)
	recordPath := filepath.Join(dir, "cache", "files", file.String())
	check(t, os.MkdirAll(filepath.Dir(recordPath), 0o755))
	check(t, os.WriteFile(recordPath, record, 0o644))
	all.Wait()
}

// Another process ends in the middle of a blob. One of its followers fetches the blob for
// all of its readers.
func TestFollowerGoesOnWhenTheOtherProcessEnds(t *testing.T) {
	content := random(59, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	dir := t.TempDir()
	followers := []*bench{serve(t, dir, room, g), serve(t, dir, room, g)}
	found, err := followers[0].session.Resolve(t.Context(), blob.Place)
	check(t, err)
	theirs, err := store.Open(dir).NewCache(store.CacheConfig{MaxSize: room}).BeginBlob(found.CID, found.Size)
	if err != nil {
		t.Fatal(err)
	}
	_, err = theirs.WriteAt(content[:100*leafLen], 0)
	check(t, err)
	var all, begun sync.WaitGroup
	for _, b := range followers {
		for range 10 {
			begun.Add(1)
			all.Go(func() {
				c := &client{want: content, slow: sync.OnceFunc(begun.Done)}
				if err := b.Copy(t.Context(), b.session, blob, nil, c); err != nil || c.wrong || c.n != int64(len(content)) || c.started != 1 {
					t.Errorf("%d bytes of %d came: %v", c.n, len(content), err)
				}
			})
		}
	}
	begun.Wait()
	check(t, theirs.Close())
	all.Wait()
	if sent := float64(g.bytes.Load()) / float64(len(content)); sent > 1.5 {
		t.Errorf("20 readers of 2 processes: %.3f of the blob from the gateway", sent)
	}
	followers[0].wait()
	followers[1].wait()
	followers[0].mustKeep(t, blob, content)
	followers[0].mustBeClean(t)
}

// A fill that begins while another process puts the blob in its place waits for the
// record, and fetches nothing.
func TestNothingIsFetchedWhileAnotherProcessCommits(t *testing.T) {
	content := random(60, large/4)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	dir := t.TempDir()
	b := serve(t, dir, room, g)
	found, err := b.session.Resolve(t.Context(), blob.Place)
	check(t, err)
	blobPath := filepath.Join(dir, "cache", "blobs", "sha256", blob.Digest.Encoded())
	check(t, os.MkdirAll(filepath.Dir(blobPath), 0o755))
	check(t, os.WriteFile(blobPath, content, 0o644))
	before := g.bytes.Load()
	got := make(chan error, 1)
	go func() { got <- b.get(t.Context(), blob, content, nil) }()
	for range 20 {
		<-time.After(lookAgain)
	}
	record, err := found.Table.AppendBinary([]byte(blob.Digest.String() + "\n"))
	check(t, err)
	recordPath := filepath.Join(dir, "cache", "files", found.CID.String())
	check(t, os.MkdirAll(filepath.Dir(recordPath), 0o755))
	check(t, os.WriteFile(recordPath, record, 0o644))
	check(t, <-got)
	if n := g.bytes.Load() - before; n > 1<<20 {
		t.Errorf("%d bytes were fetched of a blob that is in its place", n)
	}
}

// A prefetch takes free room only, and evicts no blob.
func TestPrefetchTakesFreeRoomOnly(t *testing.T) {
	content, other := random(56, large/4), random(57, large/4)
	im, blob := one(t, content)
	im2, blob2 := one(t, other)
	g := &testGateway{images: []*image{im, im2}}
	b := serve(t, t.TempDir(), large/4+large/8, g)
	check(t, b.get(t.Context(), blob, content, nil))
	b.wait()
	sent := g.bytes.Load()
	if err := b.ahead(blob2, len(other)); !errors.Is(err, errNoRoom) {
		t.Errorf("a prefetch without free room: %v", err)
	}
	b.wait()
	if g.bytes.Load() != sent {
		t.Error("a blob was prefetched without free room")
	}
	b.mustKeep(t, blob, content)
}

// A growing file knows which bytes of any part are present. It knows how many leaves at
// its beginning are present without counting them again.
func TestGrowingFileKnowsWhichLeavesArePresent(t *testing.T) {
	const leaves = 200
	content := random(58, leaves*leafLen)
	im, blob := one(t, content)
	b := serve(t, t.TempDir(), room, &testGateway{images: []*image{im}})
	found, err := b.session.Resolve(t.Context(), blob.Place)
	check(t, err)
	table := found.Table
	g := &growing{changed: make(chan struct{})}
	g.begin(fetching, table, nil)
	order := []int{}
	for i := range leaves {
		order = append(order, (i*77)%leaves)
	}
	there := make([]bool, leaves)
	for _, i := range order {
		g.arrived(i)
		there[i] = true
		want := slices.Index(there, false)
		if want < 0 {
			want = leaves
		}
		if g.prefix != want {
			t.Fatalf("the first %d leaves are present, and prefix is %d", want, g.prefix)
		}
		for from := range leaves {
			end := from
			for end < leaves && there[end] {
				end++
			}
			if got := g.presentTo(table.Start(from), table.Size()); end > from && got != table.Leaves[end-1].End || end == from && got != table.Start(from) {
				t.Fatalf("bytes are present from leaf %d to byte %d, and should be to leaf %d", from, got, end)
			}
		}
	}
}

// Prefetches that run at the same time take a tenth of the cache together.
func TestPrefetchesTakeASmallShareTogether(t *testing.T) {
	const size, blobs = large / 16, 6
	g := &testGateway{}
	var all []Blob
	for i := range blobs {
		im, blob := one(t, random(byte(70+i), size))
		g.images = append(g.images, im)
		all = append(all, blob)
	}
	b := serve(t, t.TempDir(), 20*(size+leafLen), g)
	for _, blob := range all {
		if err := b.ahead(blob, size); err != nil && !errors.Is(err, errNoRoom) {
			t.Error(err)
		}
	}
	b.wait()
	kept, err := filepath.Glob(filepath.Join(b.dir, "cache", "blobs", "sha256", "*"))
	if err != nil || len(kept) == 0 || len(kept) > 2 {
		t.Errorf("%d blobs of a twentieth of the cache were prefetched: %v", len(kept), err)
	}
	b.mustBeClean(t)
}

// A manifest may lie about the size of a blob. Such a blob is not prefetched.
func TestPrefetchRefusesBlobOfAnotherSize(t *testing.T) {
	content := random(80, large/8)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	b := serve(t, t.TempDir(), room, g)
	if err := b.ahead(blob, 1000); !errors.Is(err, errDeclared) {
		t.Errorf("a blob of %d bytes that should have 1,000: %v", len(content), err)
	}
	b.wait()
	if n := g.asked.Load(); n > 0 {
		t.Errorf("the gateway got %d requests for it", n)
	}
	check(t, b.get(t.Context(), blob, content, nil))
	b.mustKeep(t, blob, content)
}

// A gateway that sends fast gets a request for the bytes that a reader wants, and for no
// others, until readers have got a fair part of the blob.
func TestSmallPartsAreRequestedAlone(t *testing.T) {
	content := random(90, large)
	im, blob := one(t, content)
	g := &testGateway{images: []*image{im}}
	b := serve(t, t.TempDir(), room, g)
	b.config.Grace = 100 * time.Millisecond
	for _, part := range []gateway.Range{{First: 0, Last: 0}, {First: large / 2, Last: large/2 + 100}, {First: -1, Last: -1}} {
		check(t, b.get(t.Context(), blob, content, &part))
	}
	b.wait()
	if sent := g.bytes.Load(); sent > 4*leafLen {
		t.Errorf("the gateway sent %d bytes, and three leaves have %d", sent, 3*leafLen)
	}
	b.mustBeClean(t)
}

// The clients that leave at the same time do not cause more bytes than one of them.
func TestGraceIsSharedByAllFills(t *testing.T) {
	const clients = 8
	g := &testGateway{}
	held := make(chan struct{})
	g.body = func(r io.ReadSeeker) io.ReadSeeker { return &stopping{r, leafLen, held} }
	var blobs []Blob
	var contents [][]byte
	for i := range clients {
		content := random(byte(100+i), large/8)
		im, blob := one(t, content)
		g.images, blobs, contents = append(g.images, im), append(blobs, blob), append(contents, content)
	}
	b := serve(t, t.TempDir(), room, g)
	b.config.GraceBytes = large / 8
	for i, blob := range blobs {
		ctx, leave := context.WithCancel(t.Context())
		if err := b.Copy(ctx, b.session, blob, nil, &client{want: contents[i], slow: leave}); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that left: %v", err)
		}
	}
	b.mu.Lock()
	going := 0
	for _, fl := range b.places {
		if fl.lives() {
			going++
		}
	}
	b.mu.Unlock()
	if going == 0 || going > 2 {
		t.Errorf("%d fills of %d go on, and there is grace for one blob", going, clients)
	}
	close(held)
	b.wait()
	if n := b.together.taken; n < large/16 {
		t.Errorf("%.0f bytes of grace are spent after a blob was fetched without readers", n)
	}
}

// Clients that ask for one blob after the other, and leave, do not get the grace again for
// each of them. It comes back over time.
func TestGraceComesBackOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g grace
		const all = 10 * graceRate
		if n := g.take(all+1, all); n != all {
			t.Errorf("%d bytes at first", n)
		}
		if n := g.take(1, all); n != 0 {
			t.Errorf("%d bytes after all were taken", n)
		}
		g.giveBack(graceRate)
		time.Sleep(2 * time.Second)
		if n := g.take(all, all); n != 3*graceRate {
			t.Errorf("%d bytes after two seconds, and %d that were given back", n, graceRate)
		}
		time.Sleep(time.Hour)
		if n := g.take(2*all, all); n != all {
			t.Errorf("%d bytes after an hour", n)
		}
	})
}
