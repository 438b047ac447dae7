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

// cacheBlob puts a blob into a cache, and returns what it is as a file.
func cacheBlob(t testing.TB, c *Cache, content string) cid.Cid {
	t.Helper()
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(content))
	f, err := unixfs.V1.Layout(cutter.Table())
	check(t, err)
	for _, nd := range f.Nodes {
		c.AddNode(nd)
	}
	p, err := c.Begin(f.CID, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { check(t, p.Close()) }()
	_, err = p.WriteAt([]byte(content), 0)
	check(t, err)
	check(t, p.Sync())
	check(t, p.Commit(digest.FromString(content), f.CID, f.Table))
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

// age makes what is in a cache as old as if nobody had used it since.
func age(t testing.TB, s *Store, by time.Duration) {
	t.Helper()
	for _, path := range paths(t, s) {
		if strings.HasPrefix(path, s.cached.dir+"/") {
			then := time.Now().Add(-by)
			check(t, os.Chtimes(path, then, then))
		}
	}
}

// What was used least recently goes, by whichever process, and nothing that is
// kept.
func TestEviction(t *testing.T) {
	s := Open(t.TempDir())
	kept := put(t, s, unixfs.V1, long("kept"), "short")
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	one, two := cacheBlob(t, c, long("one")), cacheBlob(t, c, long("two"))
	age(t, s, time.Hour)
	if read(t, Open(s.Dir()), one) == "" {
		t.Error("what is cached is not there")
	}
	three := cacheBlob(t, c, long("three"))
	check(t, c.Evict(t.Context()))
	open, err := s.OpenFile(two)
	if err != nil {
		t.Fatal("something went that there was room for")
	}
	defer open.Close()
	then := time.Now().Add(-time.Hour)
	for _, path := range []string{s.cached.blobPath(open.Digest), s.cached.filePath(two)} {
		check(t, os.Chtimes(path, then, then)) // as if it was opened long ago
	}
	c = Open(s.Dir()).NewCache(CacheConfig{MaxSize: int64(len(long("one")) * 5 / 2)})
	check(t, c.Evict(t.Context()))
	for file, there := range map[cid.Cid]bool{one: true, two: false, three: true} {
		if got := read(t, s, file); (got != "") != there {
			t.Errorf("of %s there are %d bytes", file, len(got))
		}
	}
	if b, err := io.ReadAll(open); err != nil || string(b) != long("two") {
		t.Errorf("a download under way got %d bytes: %v", len(b), err)
	}
	kept.mustBeIn(t, s)
	c.Configure(CacheConfig{MaxSize: 0, Switched: func(err error) { t.Error(err) }})
	check(t, c.Evict(t.Context()))
	for _, path := range paths(t, s) {
		if strings.HasPrefix(path, s.cached.dir) && filepath.Base(path) != "lock" {
			t.Errorf("left is %s", path)
		}
	}
	kept.mustBeIn(t, s)
	if c := collect(t, s); c != (Collected{}) {
		t.Errorf("%v is collected", c)
	}
}

// What is under way takes room: what is in place makes way for it, and it never takes
// more than there is. What blobs say that they will have takes none.
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
		p, err := c.Begin(kindOf(t, fmt.Sprint("nothing comes of it", i)), limit)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
	}
	var all []*Partial
	for i := range 4 {
		p := must(c.Begin(kindOf(t, fmt.Sprint(i)), limit/3))(t)
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
		case <-c.full:
			check(t, c.Evict(t.Context()))
			var there int64
			for _, path := range paths(t, s) {
				if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
					there += info.Size()
				}
			}
			if there > limit {
				t.Fatalf("there are %d bytes in %d", there, limit)
			}
		default:
		}
	}
	if refused == 0 || !c.IsOn() {
		t.Errorf("of four blobs that do not fit together, %d pieces are refused", refused)
	}
}

// Files take whole blocks of a disk, so many small ones take more than their bytes.
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
	case <-c.full:
	default:
		t.Error("101 blocks of disk are taken, where there are to be 100, and no room is made")
	}
}

// What is cached is no image's, and what is kept by now is not cached as well.
func TestCacheAndWhatIsKept(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	file := cacheBlob(t, c, long("content"))
	if got := collect(t, s); got != (Collected{}) || read(t, s, file) == "" {
		t.Errorf("collected is %v", got)
	}
	if must(s.Begin())(t).Has(file) {
		t.Error("an import relies on what is cached")
	}
	img := put(t, s, unixfs.V1, long("content"))
	check(t, c.Evict(t.Context()))
	if exists(s.cached.blobPath(digest.FromString(long("content")))) {
		t.Error("the blob is there twice")
	}
	img.mustBeIn(t, s)
	for _, nd := range img.blobs[long("content")].Nodes {
		if data, ok := c.Node(nd.CID); !ok || !bytes.Equal(data, nd.Data) {
			t.Errorf("of the node %s there are %d bytes", nd.CID, len(data))
		}
	}
}

// Nodes are not synced, so a power failure may spoil them.
func TestDamagedNodeIsNone(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	file := cacheBlob(t, c, long("content"))
	data, ok := c.Node(file)
	if !ok {
		t.Fatal("there is no node")
	}
	for _, spoiled := range [][]byte{nil, make([]byte, len(data)), data[1:]} {
		check(t, os.WriteFile(s.cached.nodePath(file), spoiled, 0o644))
		if b, ok := c.Node(file); ok {
			t.Errorf("a damaged node is %x", b)
		}
		c.AddNode(unixfs.Block{CID: file, Data: data})
		if _, ok := c.Node(file); !ok {
			t.Error("a damaged node does not come back")
		}
	}
}

// One process at a time has a blob under way; what a killed one left is rubbish.
func TestPartial(t *testing.T) {
	s := Open(t.TempDir())
	c, other := s.NewCache(CacheConfig{MaxSize: 100}), Open(s.Dir()).NewCache(CacheConfig{MaxSize: 100})
	content := []byte("content")
	cutter := unixfs.V1.NewCutter()
	cutter.Write(content)
	f := must(unixfs.V1.Layout(cutter.Table()))(t)
	begin := func() *Partial { return must(c.Begin(f.CID, int64(len(content))))(t) }
	p := begin()
	if _, err := other.Begin(f.CID, 7); !errors.Is(err, ErrBusy) {
		t.Errorf("a second process: %v", err)
	}
	other.clear()
	if _, err := c.Begin(kindOf(t, "other"), 101); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one of 101 bytes in 100: %v", err)
	}
	_, err := p.WriteAt(content[:3], 0)
	check(t, err)
	release(p.lock) // as kill -9 does
	p.file.Close()
	other.clear()
	if left, _ := os.ReadDir(s.cached.tmp()); len(left) > 0 {
		t.Errorf("left is %v", left)
	}
	c = s.NewCache(CacheConfig{MaxSize: 100})
	p = begin()
	_, err = p.WriteAt(content, 0)
	check(t, err)
	check(t, p.Sync())
	check(t, p.Commit(digest.FromBytes(content), f.CID, f.Table))
	check(t, p.Close())
	if got := read(t, s, f.CID); got != string(content) {
		t.Errorf("it is %q", got)
	}
}

func kindOf(t testing.TB, content string) cid.Cid {
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(content))
	return must(unixfs.V1.Layout(cutter.Table()))(t).CID
}

// Several processes add to a cache, read from it and make room in it at once.
func TestCacheOfManyProcesses(t *testing.T) {
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
				if p, err := c.Begin(f, int64(len(content))); err == nil {
					cutter := unixfs.V1.NewCutter()
					cutter.Write([]byte(content))
					p.WriteAt([]byte(content), 0)
					check(t, p.Sync())
					check(t, p.Commit(digest.FromString(content), f, cutter.Table()))
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
	t.Logf("%d times it was there, %d times not", read, missed)
}

// A cache that cannot be written is off, says so once, and is on again when it
// can be.
func TestCacheIsOff(t *testing.T) {
	s := Open(t.TempDir())
	check(t, os.WriteFile(s.cached.dir, nil, 0o644))
	var said []error
	c := s.NewCache(CacheConfig{MaxSize: 0})
	c.Configure(CacheConfig{MaxSize: 1 << 30, Switched: func(err error) { said = append(said, err) }})
	later := func() { c.off = time.Now() } // as after a while
	for range 3 {
		if _, err := c.Begin(kindOf(t, "content"), 7); err == nil || errors.Is(err, ErrOff) {
			t.Errorf("where the cache is a file: %v", err)
		}
		if _, err := c.Begin(kindOf(t, "content"), 7); !errors.Is(err, ErrOff) {
			t.Errorf("soon after it failed: %v", err)
		}
		later()
	}
	check(t, os.Remove(s.cached.dir))
	cacheBlob(t, c, "content")
	if len(said) != 2 || said[0] == nil || said[1] != nil {
		t.Errorf("it says %v", said)
	}
}
