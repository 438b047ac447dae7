package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/citest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// smallDisk mounts a file system of size bytes, which only root may do.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if err != nil {
		citest.Skip(t, fmt.Sprintf("mounting a small disk: %v", err))
	}
	// A program that another test starts may have a file open for a moment.
	t.Cleanup(func() { check(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// fillUp puts old blobs into the cache of a small disk until they do not fit.
func fillUp(t *testing.T, c *Cache) (n int) {
	t.Helper()
	for {
		content := strings.Repeat(fmt.Sprintf("%8d", n), 1<<17)
		p, err := c.BeginBlob(kindOf(t, content), int64(len(content)))
		if errors.Is(err, ErrTooLarge) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.WriteAt([]byte(content), 0)
		if err == nil {
			cutter := unixfs.V1.NewCutter()
			cutter.Write([]byte(content))
			check(t, p.Sync())
			check(t, p.Commit(digest.FromString(content), kindOf(t, content), cutter.Table(), true))
		}
		check(t, p.Close())
		if err != nil {
			break
		}
		n++
	}
	age(t, c.store, time.Hour)
	return n
}

func free(t *testing.T, dir string) int64 {
	t.Helper()
	n, _, err := diskSpace(dir)
	check(t, err)
	return n
}

func TestCacheLeavesMinFreeOfDisk(t *testing.T) {
	const size, minFree = 48 << 20, 16 << 20
	dir := smallDisk(t, size)
	c := Open(dir).NewCache(CacheConfig{MaxSize: 1 << 40, MinFree: minFree, Switched: func(err error) { t.Errorf("the cache was switched off or on: %v", err) }})
	if n := fillUp(t, c); n < 20 {
		t.Errorf("only %d blobs of 1 MiB fit on a disk of 48", n)
	}
	if n := free(t, dir); n < minFree {
		t.Errorf("%d bytes are free, and should be %d", n, minFree)
	}
	check(t, os.WriteFile(filepath.Join(dir, "of others"), make([]byte, 12<<20), 0o600))
	check(t, c.Evict(t.Context()))
	if n := free(t, dir); n < minFree {
		t.Errorf("%d bytes are free after an eviction, and should be %d", n, minFree)
	}
	if n := fillUp(t, c); n > 40 || !c.IsOn() {
		t.Errorf("%d more blobs fit, and the cache is on: %v", n, c.IsOn())
	}
}

func TestImportEvictsBeforeDiskIsFull(t *testing.T) {
	dir := smallDisk(t, 64<<20)
	s := Open(dir)
	fillUp(t, s.NewCache(CacheConfig{MaxSize: 1 << 40, MinFree: 1 << 20}))
	im, err := s.BeginImport()
	if err != nil {
		t.Fatalf("beginning an import on a full disk: %v", err)
	}
	defer func() { check(t, im.Close()) }()
	f, err := os.Create(filepath.Join(im.TempDir(), "blob"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 256<<10)
	for written := 0; written < 48<<20; written += len(chunk) {
		if _, err := f.Write(chunk); err != nil {
			t.Fatalf("after %d bytes, though the cache could be evicted: %v", written, err)
		}
		<-time.After(5 * time.Millisecond) // about 50 MB a second
	}
}

// However little room the disk has, a change is made or fails as a whole, and the log agrees
// with the current state.
func TestRootOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, 2<<20)
	s := Open(filepath.Join(dir, "store"))
	changed(t, s, putTag("team/app", "first", "first"))
	filler := filepath.Join(dir, "filler")
	made, failed := 0, 0
	for pages := range int64(24) {
		check(t, os.RemoveAll(filler))
		free, _, err := diskSpace(dir)
		check(t, err)
		check(t, os.WriteFile(filler, make([]byte, free-pages<<12), 0o600))
		before, tag := current(t, s), fmt.Sprint("v", pages)
		done, err := s.Root().Change(t.Context(), putTag("team/app", tag, tag))
		switch {
		case err == nil:
			made++
			checkRoot(t, s, map[string][]string{})
			if !hasTag(t, s, done.State.Root, "team/app", tag, tag) {
				t.Errorf("with %d pages free, the image is missing", pages)
			}
		case !errors.Is(err, syscall.ENOSPC) || !current(t, s).Equals(before):
			t.Errorf("with %d pages free, the root is %s, and was %s: %v", pages, current(t, s), before, err)
		default:
			failed++
		}
		if all := states(t, s); len(all) != made+1 {
			t.Errorf("with %d pages free, there are %d states, want %d", pages, len(all), made+1)
		}
	}
	if made == 0 || failed == 0 {
		t.Errorf("%d changes were made, and %d failed", made, failed)
	}
}
