package store

import (
	"os"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A scrub finds rotten files only, and takes them out of service. Their content is
// served again once it has been added again.
func TestScrubTakesRottenFilesOutOfService(t *testing.T) {
	s := Open(t.TempDir())
	img := put(t, s, unixfs.V1, long("kept"), "right")
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40})
	cached := cacheBlob(t, c, long("cached"))
	right := cacheBlob(t, c, long("cached and right"))
	var found []string
	scrub := func() []string {
		found = nil
		check(t, s.Scrub(t.Context(), Scrub{Kept: true, Cached: true, Found: func(path string, err error) {
			check(t, err)
			found = append(found, path)
		}}))
		return found
	}
	if found := scrub(); found != nil {
		t.Errorf("found %q", found)
	}
	rotten := []string{
		s.blobPath(digest.FromString(long("kept"))), s.nodePath(img.root),
		s.cached.blobPath(digest.FromString(long("cached"))), s.cached.nodePath(cached),
	}
	for _, path := range rotten {
		b := must(os.ReadFile(path))(t)
		b[len(b)/2] ^= 1
		check(t, os.WriteFile(path, b, 0o644))
	}
	if found := scrub(); !slices.Equal(found, rotten) {
		t.Errorf("found %q, want %q", found, rotten)
	}
	for _, path := range rotten {
		if s.exists(path) {
			t.Errorf("%s is in service", path)
		}
	}
	if read(t, s, right) != long("cached and right") {
		t.Error("a file that was right was removed")
	}
	cacheBlob(t, c, long("cached"))
	again := put(t, s, unixfs.V1, long("kept"), "right")
	again.mustBeIn(t, s)
	if read(t, s, cached) != long("cached") || scrub() != nil {
		t.Errorf("files that were added again are wrong: %q", found)
	}
	if got := collect(t, s); got.Files != 2 {
		t.Errorf("Collect removed %v of the files that were put aside", got)
	}
	again.mustBeIn(t, s)
}

// A cache outlives the configuration that opened it, whose log may be closed.
func TestScrubReportsToTheCurrentConfiguration(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 40, Rotten: func(path string, err error) {
		t.Errorf("the first configuration got %s: %v", path, err)
	}})
	cacheBlob(t, c, "content")
	rotten := s.cached.blobPath(digest.FromString("content"))
	check(t, os.WriteFile(rotten, []byte("CONTENT"), 0o644))
	var found []string
	c.Configure(CacheConfig{MaxSize: 1 << 40, Rotten: func(path string, err error) {
		check(t, err)
		found = append(found, path)
	}})
	c.scrub(t.Context())
	if !slices.Equal(found, []string{rotten}) {
		t.Errorf("found %q, want %q", found, rotten)
	}
}
