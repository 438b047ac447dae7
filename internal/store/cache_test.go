package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// cacheBlob puts a blob into a cache, and returns the CID of its file.
func cacheBlob(t testing.TB, c *Cache, content string) cid.Cid {
	t.Helper()
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(content))
	f, err := unixfs.V1.Layout(cutter.Table())
	check(t, err)
	for _, nd := range f.Nodes {
		c.AddNode(nd)
	}
	p, err := c.BeginBlob(f.CID, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { check(t, p.Close()) }()
	_, err = p.WriteAt([]byte(content), 0)
	check(t, err)
	check(t, p.Sync())
	check(t, p.Commit(digest.FromString(content), f.CID, f.Table, true))
	return f.CID
}

func read(t testing.TB, s *Store, c cid.Cid) string {
	t.Helper()
	f, err := s.OpenFile(c)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	check(t, err)
	return string(b)
}

// age makes the files of a cache look as if they were used last some time ago.
func age(t testing.TB, s *Store, by time.Duration) {
	t.Helper()
	for _, path := range paths(t, s) {
		if strings.HasPrefix(path, s.cached.dir+"/") {
			then := time.Now().Add(-by)
			check(t, os.Chtimes(path, then, then))
		}
	}
}

// Eviction removes the files that were used least recently by any process. It removes
// no kept file and no open file.
func TestEvictionRemovesOldestUnreadBlobs(t *testing.T) {
	s := Open(t.TempDir())
	kept := put(t, s, unixfs.V1, long("kept"), "short")
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	one, two, three := cacheBlob(t, c, long("one")), cacheBlob(t, c, long("two")), cacheBlob(t, c, long("three"))
	check(t, c.Evict(t.Context()))
	open, err := s.OpenFile(two)
	if err != nil {
		t.Fatal("a blob was evicted though the cache had room for it")
	}
	for i, file := range []cid.Cid{two, one, three} {
		d, _, err := s.cached.file(file)
		check(t, err)
		then := time.Now().Add(time.Duration(i-3) * time.Hour)
		for _, path := range []string{s.cached.blobPath(d), s.cached.filePath(file)} {
			check(t, os.Chtimes(path, then, then))
		}
	}
	c = Open(s.Dir()).NewCache(CacheConfig{MaxSize: int64(len(long("one")) * 5 / 2)})
	check(t, c.Evict(t.Context()))
	for d, there := range map[digest.Digest]bool{
		digest.FromString(long("one")):   false,
		digest.FromString(long("two")):   true, // the oldest, and open
		digest.FromString(long("three")): true,
	} {
		if s.cached.exists(s.cached.blobPath(d)) != there {
			t.Errorf("whether blob %s is in the cache: %v", d, !there)
		}
	}
	if b, err := io.ReadAll(open); err != nil || string(b) != long("two") {
		t.Errorf("a reader got %d bytes: %v", len(b), err)
	}
	kept.mustBeIn(t, s)
	check(t, open.Close())
	c.Configure(CacheConfig{MaxSize: 0, Switched: func(err error) { t.Error(err) }})
	check(t, c.Evict(t.Context()))
	for _, path := range paths(t, s) {
		if strings.HasPrefix(path, s.cached.dir) && filepath.Base(path) != "lock" {
			t.Errorf("%s was not evicted from a cache of size 0", path)
		}
	}
	kept.mustBeIn(t, s)
	if c := collect(t, s); c != (Collected{}) {
		t.Errorf("Collect removed %v", c)
	}
}

// A blob that was just committed counts once, so that no blob is evicted for it, not
// even itself.
func TestEvictionKeepsBlobJustCommitted(t *testing.T) {
	s := Open(t.TempDir())
	content := strings.Repeat("x", 600<<10)
	c := s.NewCache(CacheConfig{MaxSize: 1 << 20})
	p := must(c.BeginBlob(kindOf(t, content), int64(len(content))))(t)
	_, err := p.WriteAt([]byte(content), 0)
	check(t, err)
	check(t, p.Sync())
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(content))
	check(t, p.Commit(digest.FromString(content), kindOf(t, content), cutter.Table(), true))
	select {
	case <-c.room.full:
		t.Error("an eviction was started, and the cache has room")
	default:
	}
	check(t, c.Evict(t.Context())) // before Close
	check(t, p.Close())
	check(t, c.Evict(t.Context()))
	if read(t, s, kindOf(t, content)) != content {
		t.Error("the blob was evicted, and the cache has room for it")
	}
	if size := c.Size(); size < 600<<10 || size > 700<<10 {
		t.Errorf("the cache counts %d bytes", size)
	}
}

// Open files take room until they are closed, and new blobs do not get that room.
func TestBlobsBeingReadCountUntilClosed(t *testing.T) {
	const size = 256 << 10
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 5 * size})
	var readers []*File
	for i := range 4 {
		readers = append(readers, must(s.OpenFile(cacheBlob(t, c, strings.Repeat(fmt.Sprint(i), size))))(t))
	}
	c.Configure(CacheConfig{MaxSize: 3 * size})
	check(t, c.Evict(t.Context()))
	if got := c.Size(); got < 4*size {
		t.Errorf("four blobs of %d bytes are open, and the cache counts %d", size, got)
	}
	p := must(c.BeginBlob(kindOf(t, "new"), size))(t)
	if _, err := p.WriteAt(make([]byte, size), 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a blob was accepted beside the open ones: %v", err)
	}
	for _, r := range readers {
		check(t, r.Close())
	}
	check(t, c.Evict(t.Context()))
	if _, err := p.WriteAt(make([]byte, size), 0); err != nil {
		t.Errorf("a blob after the readers have left: %v", err)
	}
	check(t, p.Close())
}

// A reader of an unfinished blob holds its room until it closes the file, whether the
// blob was kept in the end or not.
func TestReadersOfPartialHoldItsRoom(t *testing.T) {
	content := strings.Repeat("x", 600<<10)
	for _, commit := range []bool{true, false} {
		s := Open(t.TempDir())
		c := s.NewCache(CacheConfig{MaxSize: 1 << 20})
		p := must(c.BeginBlob(kindOf(t, content), int64(len(content))))(t)
		_, err := p.WriteAt([]byte(content), 0)
		check(t, err)
		f, done, err := p.Open()
		check(t, err)
		if commit {
			cutter := unixfs.V1.NewCutter()
			cutter.Write([]byte(content))
			check(t, p.Commit(digest.FromString(content), kindOf(t, content), cutter.Table(), true))
		}
		check(t, p.Close())
		c.Configure(CacheConfig{MaxSize: 1})
		check(t, c.Evict(t.Context()))
		if size := c.Size(); size < int64(len(content)) {
			t.Errorf("committed %v: the file is open, and the cache counts %d bytes", commit, size)
		}
		f.Close()
		done()
		check(t, c.Evict(t.Context()))
		if size := c.Size(); size != 0 {
			t.Errorf("committed %v: the file is closed, and the cache counts %d bytes", commit, size)
		}
	}
}

// The bytes of unfinished blobs take room: other blobs are evicted for them, and the
// cache never exceeds its limit. Bytes that have not come yet take no room.
func TestUnfinishedBlobsTakeRoom(t *testing.T) {
	const limit = 1 << 20
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: limit})
	c.Configure(CacheConfig{MaxSize: limit, Switched: func(err error) { t.Error(err) }})
	for i := range 4 {
		cacheBlob(t, c, strings.Repeat(fmt.Sprint(i), limit/4-1<<14))
	}
	age(t, s, time.Hour)
	for i := range 100 {
		p, err := c.BeginBlob(kindOf(t, fmt.Sprint("nothing comes of it", i)), limit)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
	}
	var all []*Partial
	for i := range 4 {
		p := must(c.BeginBlob(kindOf(t, fmt.Sprint(i)), limit/3))(t)
		defer p.Close()
		all = append(all, p)
	}
	refused := 0
	for at := range int64(limit / 3 >> 10) {
		for _, p := range all {
			switch _, err := p.WriteAt(make([]byte, 1<<10), at<<10); {
			case errors.Is(err, ErrTooLarge):
				refused++
			case err != nil:
				t.Fatal(err)
			}
		}
		select {
		case <-c.room.full:
			check(t, c.Evict(t.Context()))
			var there int64
			for _, path := range paths(t, s) {
				if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
					there += info.Size()
				}
			}
			if there > limit {
				t.Fatalf("the cache has %d bytes, and its limit is %d", there, limit)
			}
		default:
		}
	}
	if refused == 0 || !c.IsOn() {
		t.Errorf("%d pieces of four blobs that do not fit together were refused", refused)
	}
}

// A file takes whole blocks of the disk, so many small files take more than their bytes.
func TestSmallNodesTakeRoom(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 100 << 12})
	for i := range 101 {
		content := []byte(fmt.Sprint(i))
		cutter := unixfs.V1.NewCutter()
		cutter.Write(content)
		c.AddNode(unixfs.Block{CID: must(unixfs.V1.Layout(cutter.Table()))(t).CID, Data: content})
	}
	select {
	case <-c.room.full:
	default:
		t.Error("the files take 101 blocks, the limit is 100, and no eviction was started")
	}
}

// No kept image relies on a cached blob, and an eviction removes a cached blob that is
// kept as well.
func TestKeptImagesDoNotRelyOnCachedBlobs(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	file := cacheBlob(t, c, long("content"))
	if got := collect(t, s); got != (Collected{}) || read(t, s, file) == "" {
		t.Errorf("Collect removed %v", got)
	}
	if must(s.BeginImport())(t).Has(file) {
		t.Error("an import relies on a cached blob")
	}
	img := put(t, s, unixfs.V1, long("content"))
	check(t, c.Evict(t.Context()))
	if s.exists(s.cached.blobPath(digest.FromString(long("content")))) {
		t.Error("the blob is both cached and kept")
	}
	img.mustBeIn(t, s)
	for _, nd := range img.blobs[long("content")].Nodes {
		if data, ok := c.Node(nd.CID); !ok || !bytes.Equal(data, nd.Data) {
			t.Errorf("node %s has %d bytes", nd.CID, len(data))
		}
	}
}

// A power failure may spoil a cached node, since it is not synced.
func TestDamagedNodeIsReplaced(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	file := cacheBlob(t, c, long("content"))
	data, ok := c.Node(file)
	if !ok {
		t.Fatal("the node is missing")
	}
	for _, spoiled := range [][]byte{nil, make([]byte, len(data)), data[1:]} {
		check(t, os.WriteFile(s.cached.nodePath(file), spoiled, 0o644))
		if b, ok := c.Node(file); ok {
			t.Errorf("a damaged node was returned: %x", b)
		}
		c.AddNode(unixfs.Block{CID: file, Data: data})
		if _, ok := c.Node(file); !ok {
			t.Error("a damaged node was not replaced")
		}
	}
}

// One process at a time fetches a blob. The files of a killed process are removed.
func TestPartialBelongsToOneProcess(t *testing.T) {
	s := Open(t.TempDir())
	c, other := s.NewCache(CacheConfig{MaxSize: 100}), Open(s.Dir()).NewCache(CacheConfig{MaxSize: 100})
	content := []byte("content")
	cutter := unixfs.V1.NewCutter()
	cutter.Write(content)
	f := must(unixfs.V1.Layout(cutter.Table()))(t)
	begin := func() *Partial { return must(c.BeginBlob(f.CID, int64(len(content))))(t) }
	p := begin()
	if _, err := other.BeginBlob(f.CID, 7); !errors.Is(err, ErrBusy) {
		t.Errorf("a second process: %v", err)
	}
	other.clear()
	if _, err := c.BeginBlob(kindOf(t, "other"), 101); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a blob of 101 bytes in a cache of 100: %v", err)
	}
	_, err := p.WriteAt(content[:3], 0)
	check(t, err)
	release(p.lock) // as kill -9 does
	p.file.Close()
	other.clear()
	if left, _ := os.ReadDir(s.cached.tmp()); len(left) > 0 {
		t.Errorf("tmp has %v", left)
	}
	c = s.NewCache(CacheConfig{MaxSize: 100})
	p = begin()
	_, err = p.WriteAt(content, 0)
	check(t, err)
	check(t, p.Sync())
	check(t, p.Commit(digest.FromBytes(content), f.CID, f.Table, true))
	check(t, p.Close())
	if got := read(t, s, f.CID); got != string(content) {
		t.Errorf("the blob is %q", got)
	}
}

func kindOf(t testing.TB, content string) cid.Cid {
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(content))
	return must(unixfs.V1.Layout(cutter.Table()))(t).CID
}

// Several processes add to a cache, read from it and evict at once.
func TestManyProcessesShareACache(t *testing.T) {
	dir := t.TempDir()
	kept := put(t, Open(dir), unixfs.V1, long("kept"))
	var all sync.WaitGroup
	read, missed := 0, 0
	var mu sync.Mutex
	for i := range 4 {
		all.Go(func() {
			s := Open(dir)
			c := s.NewCache(CacheConfig{MaxSize: int64(3 * len(long("x")))})
			for round := range 12 {
				content := long(strings.Repeat("x", 1+(i+round)%5))
				f := kindOf(t, content)
				if p, err := c.BeginBlob(f, int64(len(content))); err == nil {
					cutter := unixfs.V1.NewCutter()
					cutter.Write([]byte(content))
					if _, err := p.WriteAt([]byte(content), 0); err == nil {
						check(t, p.Sync())
						check(t, p.Commit(digest.FromString(content), f, cutter.Table(), true))
					} else if !errors.Is(err, ErrTooLarge) { // open blobs may leave no room
						t.Error(err)
					}
					check(t, p.Close())
				} else if !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				check(t, c.Evict(t.Context()))
				got, err := s.OpenFile(f)
				mu.Lock()
				if err == nil {
					b, err := io.ReadAll(got)
					got.Close()
					if err != nil || string(b) != content {
						t.Errorf("%d bytes of %d: %v", len(b), len(content), err)
					}
					read++
				} else if errors.Is(err, fs.ErrNotExist) {
					missed++
				} else {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	kept.mustBeIn(t, Open(dir))
	t.Logf("a blob was found %d times and missing %d times", read, missed)
}

// The bytes of a blob that stays for the next try take room. They are evicted first, and
// purged with their root.
func TestUnfinishedBlobsAreEvictedFirst(t *testing.T) {
	const size = 64 << 10
	content := strings.Repeat("unfinished", size/10+1)[:size]
	id := kindOf(t, content)
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 4 * size})
	begin := func() {
		p, err := c.BeginBlob(id, 2*size)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.WriteAt([]byte(content), p.Resumed())
		check(t, err)
		p.Stay()
		check(t, p.Close())
	}
	begin()
	if n := c.Size(); n != size {
		t.Errorf("the cache counts %d bytes, and has %d", n, size)
	}
	p, err := c.BeginBlob(id, 2*size)
	if err != nil || p.Resumed() != size || c.Size() != size {
		t.Fatalf("%d bytes are resumed, the cache counts %d: %v", p.Resumed(), c.Size(), err)
	}
	check(t, p.Close())
	if left := must(s.cached.readDir(s.cached.tmp()))(t); len(left) > 0 || c.Size() != 0 {
		t.Errorf("tmp has %v after a blob that did not stay, and the cache counts %d bytes", left, c.Size())
	}

	begin()
	kept := []cid.Cid{cacheBlob(t, c, strings.Repeat("a", size)), cacheBlob(t, c, strings.Repeat("b", size))}
	age(t, s, time.Hour)
	c.Configure(CacheConfig{MaxSize: 3 * size})
	check(t, c.Evict(t.Context()))
	if s.cached.exists(s.cached.partialPath(id)) {
		t.Error("the unfinished blob was not evicted")
	}
	for _, k := range kept {
		if !s.cached.exists(s.cached.filePath(k)) {
			t.Errorf("%s was evicted before the unfinished blob", k)
		}
	}

	begin()
	_, err = s.Forget(t.Context(), id)
	check(t, err)
	if s.cached.exists(s.cached.partialPath(id)) {
		t.Error("the unfinished blob outlived a purge")
	}
}

// If a blob arrives faster than the background evicts, the cache exceeds its limit by at
// most a tenth. The writer evicts before it continues.
func TestWritersEvictBeforeTheCacheExceedsItsLimit(t *testing.T) {
	const size, blobs = 1 << 20, 10
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: blobs * size, MinFree: -1}) // no Run
	for i := range blobs {
		cacheBlob(t, c, strings.Repeat(string(rune('a'+i)), size))
	}
	age(t, s, time.Hour)
	p, err := c.BeginBlob(kindOf(t, "new"), 8*size)
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, size/4)
	for at := int64(0); at < 8*size; at += size / 4 {
		if _, err := p.WriteAt(piece, at); err != nil {
			t.Fatalf("at byte %d: %v", at, err)
		}
		if n := onDiskNow(t, s); n > blobs*size*11/10+size/4 {
			t.Fatalf("at byte %d, the cache has %d bytes, and its limit is %d", at, n, blobs*size)
		}
	}
	check(t, p.Close())
}

// onDiskNow returns how many bytes the files of the cache take.
func onDiskNow(t testing.TB, s *Store) (bytes int64) {
	t.Helper()
	check(t, filepath.WalkDir(s.cached.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += onDisk(info.Size())
		}
		return err
	}))
	return bytes
}

// Prefetched blobs that no reader has opened take a tenth of the cache at most, and are
// evicted before any other. A blob that a reader opens no longer counts.
func TestUnusedBlobsTakeASmallShare(t *testing.T) {
	const size = 64 << 10
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 20 * size, MinFree: -1})
	prefetch := func(content string) error {
		release, ok := c.Reserve(size)
		if !ok {
			return ErrTooLarge
		}
		defer release()
		cutter := unixfs.V1.NewCutter()
		cutter.Write([]byte(content))
		p, err := c.BeginBlob(kindOf(t, content), size)
		if err == nil {
			_, err = p.WriteAt([]byte(content), 0)
		}
		if err == nil {
			err = p.Commit(digest.FromString(content), kindOf(t, content), cutter.Table(), false)
		}
		return errors.Join(err, p.Close())
	}
	contents := make([]string, 4)
	for i := range contents {
		contents[i] = strings.Repeat(string(rune('a'+i)), size)
	}
	for i, content := range contents[:2] {
		if err := prefetch(content); err != nil {
			t.Fatalf("blob %d of two that fit: %v", i, err)
		}
	}
	if err := prefetch(contents[2]); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a third prefetched blob in a tenth of the cache: %v", err)
	}
	read(t, s, kindOf(t, contents[0]))
	check(t, c.Evict(t.Context()))
	if err := prefetch(contents[2]); err != nil {
		t.Errorf("after one was opened: %v", err)
	}
	used := cacheBlob(t, c, contents[3])
	age := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(s.cached.blobPath(digest.FromString(contents[3])), age, age))
	c.Configure(CacheConfig{MaxSize: 4 * size, MinFree: -1})
	check(t, c.Evict(t.Context()))
	if !s.cached.exists(s.cached.filePath(used)) || !s.cached.exists(s.cached.blobPath(digest.FromString(contents[3]))) {
		t.Error("a used blob was evicted before prefetched ones")
	}
	if s.cached.exists(s.cached.blobPath(digest.FromString(contents[1]))) && s.cached.exists(s.cached.blobPath(digest.FromString(contents[2]))) {
		t.Error("no prefetched blob was evicted")
	}
}

// A cache that cannot be written turns itself off and reports that once. It turns itself
// on again when it can be written.
func TestUnwritableCacheIsOffForAWhile(t *testing.T) {
	s := Open(t.TempDir())
	check(t, os.WriteFile(s.cached.dir, nil, 0o644))
	var said []error
	c := s.NewCache(CacheConfig{MaxSize: 0})
	c.Configure(CacheConfig{MaxSize: 1 << 30, Switched: func(err error) { said = append(said, err) }})
	later := func() { c.off = time.Now() } // as if the pause was over
	for range 3 {
		if _, err := c.BeginBlob(kindOf(t, "content"), 7); err == nil || errors.Is(err, ErrOff) {
			t.Errorf("the directory of the cache is a file: %v", err)
		}
		if _, err := c.BeginBlob(kindOf(t, "content"), 7); !errors.Is(err, ErrOff) {
			t.Errorf("soon after it failed: %v", err)
		}
		later()
	}
	check(t, os.Remove(s.cached.dir))
	cacheBlob(t, c, "content")
	if len(said) != 2 || said[0] == nil || said[1] != nil {
		t.Errorf("the cache reported %v", said)
	}
}
