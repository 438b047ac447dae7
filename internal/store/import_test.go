package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// kill ends the import as kill -9 does: its locks are released, and its files stay.
func (im *Import) kill() {
	im.unlock()
	release(im.temp.lock)
}

// After a crash at any point, the store has the whole image or none of it, and the
// next collection removes the rest.
func TestCrashLeavesWholeImageOrNone(t *testing.T) {
	content := long("content")
	cutter := unixfs.V1.NewCutter()
	cutter.Write([]byte(content))
	file := must(unixfs.V1.Layout(cutter.Table()))(t)
	for point := 0; ; point++ {
		s := Open(t.TempDir())
		other := put(t, s, unixfs.V1, "other")
		before := paths(t, s)
		im := must(s.BeginImport())(t)
		root, done := importUpTo(t, im, content, file, point)
		im.kill()
		if !done {
			if _, err := s.Record(root.CID); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after %d steps the image has a record: %v", point, err)
			}
		}
		collect(t, s)
		other.mustBeIn(t, s)
		if done {
			check(t, s.newWalk().follow(t.Context(), root.CID))
			return
		}
		if now := paths(t, s); !slices.Equal(now, before) {
			t.Errorf("after %d steps, the store has %q; before, it had %q", point, now, before)
		}
	}
}

// importUpTo takes the first steps of an import, and reports whether there are no more.
func importUpTo(t *testing.T, im *Import, content string, file *unixfs.File, steps int) (root unixfs.Node, done bool) {
	var blocks []unixfs.Block
	root, err := unixfs.V1.Tree(t.Context(), map[string]unixfs.Node{"app/blobs/b": file.Node}, func(b unixfs.Block) error {
		blocks = append(blocks, b)
		return nil
	})
	check(t, err)
	path := filepath.Join(im.TempDir(), "blob")
	all := []func() error{
		func() error { return os.WriteFile(path, []byte(content), 0o600) },
		func() error { return im.Lock(context.Background()) },
		func() error { return im.adopt(path, im.store.blobPath(digest.FromString(content))) },
		func() error { return os.WriteFile(path, []byte(content), 0o600) },
		func() error { return im.Blob(path, digest.FromString(content), file) },
	}
	for _, b := range blocks {
		all = append(all, func() error { return im.Node(b) })
	}
	all = append(all, func() error { return im.Commit(root.CID, Record{Root: root.CID.String()}) })
	for i, step := range all {
		if i == steps {
			return root, false
		}
		check(t, step())
	}
	return root, true
}

// The files of a killed import are removed. The files of a running import and of other
// programs stay.
func TestOnlyFilesOfKilledImportsAreRemoved(t *testing.T) {
	s := Open(t.TempDir())
	living := must(s.BeginImport())(t)
	defer living.Close()
	killed := must(s.BeginImport())(t)
	unlocked := filepath.Join(s.tmp(), importPrefix+"crashed-before-its-lock")
	check(t, os.Mkdir(unlocked, 0o700))
	other := filepath.Join(s.tmp(), "other")
	check(t, os.Mkdir(other, 0o755))
	for _, im := range []*Import{living, killed} {
		check(t, os.WriteFile(filepath.Join(im.TempDir(), "blob"), []byte("half a la"), 0o600))
	}
	killed.kill()
	if c, err := s.Collect(t.Context(), true); err != nil || c != (Collected{1, 9}) {
		t.Errorf("a dry run finds %v, %v", c, err)
	}
	for _, again := range []string{"begin", "collect"} {
		left := map[string]bool{living.TempDir(): true, killed.TempDir(): false, unlocked: false, other: true}
		if again == "begin" {
			check(t, must(s.BeginImport())(t).Close())
		} else {
			killed = must(s.BeginImport())(t)
			killed.kill()
			collect(t, s)
			left[killed.TempDir()] = false
		}
		for dir, want := range left {
			if _, err := os.Stat(dir); (err == nil) != want {
				t.Errorf("%s: of %s: %v", again, dir, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(living.TempDir(), "blob")); err != nil {
		t.Error(err)
	}
}

// Imports begin and end while other processes remove the files of killed imports. No
// running import loses its files.
func TestImportsDoNotRemoveFilesOfOtherImports(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 40 {
				im, err := Open(dir).BeginImport()
				if err != nil {
					t.Error(err)
					return
				}
				path := filepath.Join(im.TempDir(), "blob")
				check(t, os.WriteFile(path, small, 0o600))
				check(t, Open(dir).leftovers((*temp).remove, importPrefix))
				if _, err := os.Stat(path); err != nil {
					t.Error(err)
				}
				check(t, im.Close())
			}
		})
	}
	wg.Wait()
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err == nil && len(left) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in tmp: %v, %v", left, err)
	}
}

// A blob that an import relies on stays until the record of the import is written.
func TestBlobsThatImportHasStay(t *testing.T) {
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		s := Open(t.TempDir())
		content := long("content")
		img := put(t, s, profile, content, "short")
		file := img.blobs[content]
		im := must(s.BeginImport())(t)
		if !im.Has(file.CID) || !im.Has(img.blobs["short"].CID) || im.Has(img.root) {
			t.Error("Has reports false for a blob of the store")
		}
		check(t, im.Lock(t.Context()))
		for _, path := range []string{s.filePath(file.CID), s.nodePath(file.CID), s.blobPath(digest.FromString(content))} {
			whole := must(os.ReadFile(path))(t)
			check(t, os.Truncate(path, int64(len(whole)-1)))
			if im.Has(file.CID) {
				t.Errorf("Has reports true, and %s lacks a byte", path)
			}
			check(t, os.WriteFile(path, whole, 0o644))
		}
		if !im.Has(file.CID) {
			t.Error("Has reports false for a blob that was restored")
		}
		root := must(profile.Tree(t.Context(), map[string]unixfs.Node{"b": file.Node}, im.Node))(t)
		check(t, im.Commit(root.CID, Record{Root: root.CID.String()}))
		check(t, im.Close())
		check(t, s.Remove(t.Context(), img.root))
		collect(t, s)
		check(t, s.newWalk().follow(t.Context(), root.CID))
	}
}

func TestNothingIsPutInPlaceBeforeLock(t *testing.T) {
	im := must(Open(t.TempDir()).BeginImport())(t)
	defer im.Close()
	path := filepath.Join(im.TempDir(), "blob")
	check(t, os.WriteFile(path, small, 0o600))
	cutter := unixfs.V1.NewCutter()
	cutter.Write(small)
	file := must(unixfs.V1.Layout(cutter.Table()))(t)
	for _, err := range []error{im.Blob(path, digest.FromBytes(small), file), im.Node(unixfs.Block{CID: file.CID, Data: small}), im.Commit(file.CID, Record{})} {
		if !errors.Is(err, errNotLocked) {
			t.Errorf("the error is %v", err)
		}
	}
}

// An import keeps the file of a blob with the right bytes, and replaces anything else
// in its place.
func TestImportReplacesDamagedBlobs(t *testing.T) {
	s := Open(t.TempDir())
	content := long("content")
	img := put(t, s, unixfs.V1, content)
	path := s.blobPath(digest.FromString(content))
	before := must(os.Lstat(path))(t)
	put(t, s, unixfs.V1, content)
	if !os.SameFile(before, must(os.Lstat(path))(t)) {
		t.Error("a blob with the right bytes was written again")
	}
	for what, damage := range map[string]func() error{
		"its first byte is another": func() error { return os.WriteFile(path, []byte("X"+content[1:]), 0o644) },
		"its last byte is another":  func() error { return os.WriteFile(path, []byte(content[:len(content)-1]+"X"), 0o644) },
		"it is short":               func() error { return os.Truncate(path, 1000) },
		"it is long":                func() error { return os.WriteFile(path, []byte(content+"X"), 0o644) },
		"it is a link to the right bytes": func() error {
			return errors.Join(os.Rename(path, path+"-elsewhere"), os.Symlink(path+"-elsewhere", path))
		},
	} {
		check(t, damage())
		put(t, s, unixfs.V1, content)
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Errorf("%s, and an import did not replace it: %v", what, err)
		}
		img.mustBeIn(t, s)
	}
}

// A directory may be given in any spelling.
func TestSpellingsOfADirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"a", "./b", "c/", "c/../d", ".", filepath.Join(t.TempDir(), "e") + "/"} {
		changed(t, Open(dir), putTag("app", "v1", "one"))
		if s := Open(filepath.Clean(dir)); !hasTag(t, s, current(t, s), "app", "v1", "one") {
			t.Errorf("%s lacks what was put into it", dir)
		}
	}
}
