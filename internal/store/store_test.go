package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/citest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

var (
	blob  = bytes.Repeat([]byte("of a layer "), 300_000) // several leaves
	small = []byte("a manifest")
)

// fill imports a tree with one blob and one small file, up to a step.
func fill(t testing.TB, s *Store, profile unixfs.Profile, commit bool) cid.Cid {
	t.Helper()
	im, err := s.BeginImport()
	check(t, err)
	defer im.Close()
	check(t, im.Lock(context.Background()))

	path := filepath.Join(im.TempDir(), "blob")
	check(t, os.WriteFile(path, blob, 0o600))
	cutter := profile.NewCutter()
	cutter.Write(blob)
	file, err := profile.Layout(cutter.Table())
	check(t, err)
	check(t, im.Blob(path, digest.FromBytes(blob), file))

	table := profile.NewTable()
	table.Add(small)
	block := table.Block(0, small)
	check(t, im.Node(block))
	root, err := profile.Tree(context.Background(), map[string]unixfs.Node{
		"app/blobs/b":     file.Node,
		"app/manifests/m": {CID: block.CID, Size: uint64(len(block.Data))},
	}, im.Node)
	check(t, err)
	if commit {
		check(t, im.Commit(root.CID, Record{Root: root.CID.String(), Images: []layout.Tagged{{Name: "app", Digest: digest.FromBytes(small)}}}))
	}
	return root.CID
}

func TestStoredFilesAreRead(t *testing.T) {
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		s := Open(filepath.Join(t.TempDir(), "made", "when", "needed"))
		root := fill(t, s, profile, true)
		got, err := s.ReadFile(t.Context(), root, "app/manifests/m", 100)
		if err != nil || !bytes.Equal(got, small) {
			t.Errorf("%s: the small file is %q, %v", profile, got, err)
		}
		got, err = s.ReadFile(t.Context(), root, "app/blobs/b", int64(len(blob)))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%s: the blob does not come back: %v", profile, err)
		}
		f, err := s.Open(t.Context(), root, "app/blobs/b")
		check(t, err)
		defer f.Close()
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, blob) || f.Size != int64(len(blob)) || f.Digest != digest.FromBytes(blob) {
			t.Errorf("%s: the blob is %s of %d bytes, %v", profile, f.Digest, f.Size, err)
		}
	}
}

// A digest by another algorithm costs reading the file once, and nothing after the
// client has left.
func TestDigestsByOtherAlgorithmsAreRemembered(t *testing.T) {
	s := Open(t.TempDir())
	root := fill(t, s, unixfs.V1, true)
	open := func() *File { return must(s.Open(t.Context(), root, "app/blobs/b"))(t) }
	right := digest.SHA512.FromBytes(blob)
	left, leave := context.WithCancel(t.Context())
	leave()
	f := open()
	defer f.Close()
	if _, err := f.HasDigest(left, right); !errors.Is(err, context.Canceled) {
		t.Errorf("for a client that left: %v", err)
	}
	if offset := must(f.Seek(0, io.SeekCurrent))(t); offset != 0 {
		t.Errorf("%d bytes were read for a client that left", offset)
	}
	if ok, err := f.HasDigest(t.Context(), right); !ok || err != nil {
		t.Errorf("the file does not have its own digest: %v", err)
	}
	again := open()
	defer again.Close()
	for d, want := range map[digest.Digest]bool{right: true, digest.SHA512.FromString("other"): false} {
		if ok, err := again.HasDigest(t.Context(), d); ok != want || err != nil {
			t.Errorf("the file has %s: %v, %v", d, ok, err)
		}
	}
	if offset := must(again.Seek(0, io.SeekCurrent))(t); offset != 0 {
		t.Errorf("%d bytes were read again", offset)
	}
}

// Opening a blob takes no memory for its leaf table, which a publisher can make large.
func TestOpeningABlobOfManyLeavesTakesLittleMemory(t *testing.T) {
	s := Open(t.TempDir())
	c := s.NewCache(CacheConfig{MaxSize: 1 << 30})
	const leaves = 1 << 18
	table := &unixfs.Table{Leaves: make([]unixfs.Leaf, leaves)}
	for i := range table.Leaves {
		table.Leaves[i].End = int64(i + 1)
	}
	content := make([]byte, leaves)
	id := kindOf(t, "many leaves")
	p, err := c.BeginBlob(id, leaves)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.WriteAt(content, 0)
	check(t, err)
	check(t, p.Commit(digest.FromBytes(content), id, table, true))
	check(t, p.Close())
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			f, err := s.OpenFile(id)
			if err != nil || f.Size != leaves || f.Digest != digest.FromBytes(content) {
				b.Fatalf("%v, %v", f, err)
			}
			f.Close()
		}
	})
	if n := result.AllocedBytesPerOp(); n > 1<<20 {
		t.Errorf("opening a blob of %d leaves takes %d bytes of memory", leaves, n)
	}
}

func TestRecordIsReadableJSON(t *testing.T) {
	s := Open(t.TempDir())
	root := fill(t, s, unixfs.V1, true)
	b, err := os.ReadFile(s.imagePath(root))
	check(t, err)
	var r Record
	check(t, json.Unmarshal(b, &r))
	if len(r.Images) != 1 || r.Images[0].Name != "app" || r.Root != root.String() {
		t.Errorf("the record is %s", b)
	}
}

func TestMissingFilesDoNotExist(t *testing.T) {
	s := Open(t.TempDir())
	root := fill(t, s, unixfs.V1, true)
	elsewhere := Open(filepath.Join(t.TempDir(), "never made"))
	for _, test := range []struct {
		s    *Store
		path string
	}{{s, "app/blobs/c"}, {s, "x"}, {s, "app/manifests/m/x"}, {elsewhere, "app/blobs/b"}} {
		if _, err := test.s.Open(t.Context(), root, test.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open %q: %v, want %v", test.path, err, fs.ErrNotExist)
		}
		if _, err := test.s.ReadFile(t.Context(), root, test.path, 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile %q: %v, want %v", test.path, err, fs.ErrNotExist)
		}
	}
	for _, path := range []string{"app/blobs/b", "app/manifests/m"} {
		if b, err := s.ReadFile(t.Context(), root, path, 5); err == nil {
			t.Errorf("%d bytes were read, and 5 are allowed", len(b))
		}
	}
}

func TestImportThatIsClosedEarlyLeavesNothing(t *testing.T) {
	s := Open(t.TempDir())
	fill(t, s, unixfs.V1, false)
	for _, dir := range []string{"tmp", "images"} {
		left, err := os.ReadDir(filepath.Join(s.Dir(), dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
			t.Errorf("in %s: %v, %v", dir, left, err)
		}
	}
	there := t.TempDir()
	for dir, want := range map[string]error{there: nil, filepath.Join(there, "never", "used"): fs.ErrNotExist} {
		im, err := Open(dir).BeginImport()
		check(t, err)
		check(t, im.Close())
		if _, err := os.Stat(dir); !errors.Is(err, want) {
			t.Errorf("after an empty import, %s: %v, want %v", dir, err, want)
		}
	}
}

// The users who can read a directory can read new files in it, and no other users can.
func TestNewFilesAreAsReadableAsTheirDirectory(t *testing.T) {
	for dirs, files := range map[fs.FileMode]fs.FileMode{0o755: 0o644, 0o700: 0o600, 0o750: 0o640, 0o777: 0o644} {
		parent := t.TempDir()
		check(t, os.Chmod(parent, dirs))
		s := Open(filepath.Join(parent, "store"))
		fill(t, s, unixfs.V1, true)
		cacheBlob(t, s.NewCache(CacheConfig{MaxSize: 1 << 40}), "content")
		dirs &= 0o755
		check(t, filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() == "tmp" || d.Name() == "lock" || d.Name() == "gate" {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if want := map[bool]fs.FileMode{true: dirs, false: files}[d.IsDir()]; info.Mode().Perm() != want {
				t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
			}
			return nil
		}))
	}
}

// A part of the store may belong to another user, who makes links to files that only
// this process may read or write.
func TestLinksOutOfStoreAreNotFollowed(t *testing.T) {
	for _, name := range []string{"gate", "lock", "blobs/sha256", "blobs", "nodes", "files", "images"} {
		s := Open(t.TempDir())
		outside := t.TempDir()
		target := filepath.Join(outside, "new")
		if name != "gate" && name != "lock" {
			check(t, os.Mkdir(target, 0o755))
		}
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(s.Dir(), name)), 0o755))
		check(t, os.Symlink(target, filepath.Join(s.Dir(), name)))
		if err := importOne(t, s); err == nil {
			t.Errorf("%s is a link, and an import used it", name)
		}
		if made, err := filepath.Glob(filepath.Join(target, "*")); err != nil || len(made) > 0 {
			t.Errorf("%s is a link, and an import made %q", name, made)
		}
		if _, err := os.Stat(target); (name == "gate" || name == "lock") && err == nil {
			t.Errorf("%s is a link, and an import made %s", name, target)
		}
	}
	s := Open(t.TempDir())
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, small, 0o600))
	path := s.blobPath(digest.FromBytes(small))
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.Symlink(secret, path))
	if f, err := s.OpenBlob(digest.FromBytes(small), int64(len(small))); err == nil {
		f.Close()
		t.Error("a link out of the store was followed to read")
	}
}

func importOne(t *testing.T, s *Store) error {
	im, err := s.BeginImport()
	if err != nil {
		return err
	}
	defer im.Close()
	if err := im.Lock(t.Context()); err != nil {
		return err
	}
	path := filepath.Join(im.TempDir(), "blob")
	check(t, os.WriteFile(path, blob, 0o600))
	cutter := unixfs.V1.NewCutter()
	cutter.Write(blob)
	file := must(unixfs.V1.Layout(cutter.Table()))(t)
	if err := im.Blob(path, digest.FromBytes(blob), file); err != nil {
		return err
	}
	return im.Commit(file.CID, Record{Root: file.CID.String()})
}

// A store that belongs to a third user is refused, with the command that works.
func TestStoreOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		citest.Skip(t, "only root can make files of another user")
	}
	for _, name := range []string{"", "blobs", "tmp"} {
		s := Open(t.TempDir())
		root := fill(t, s, unixfs.V1, true)
		check(t, os.MkdirAll(s.cached.dir, 0o755))
		check(t, os.Chown(s.cached.dir, 65534, 65534))
		_, err := s.Collect(t.Context(), false)
		check(t, err) // the cache may belong to Caddy's user
		check(t, os.MkdirAll(filepath.Join(s.Dir(), name), 0o755))
		check(t, os.Chown(filepath.Join(s.Dir(), name), 65534, 65534))
		_, began := s.BeginImport()
		_, collected := s.Collect(t.Context(), false)
		for what, err := range map[string]error{"BeginImport": began, "Collect": collected, "Remove": s.Remove(t.Context(), root)} {
			if err == nil || !strings.Contains(err.Error(), "sudo -u '#65534'") || !strings.Contains(err.Error(), "chown -R 0 ") {
				t.Errorf("%q is another user's: %s: %v", name, what, err)
			}
		}
	}
}

func TestManyImportsAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := Open(dir)
			root := fill(t, s, unixfs.V1, true)
			if got, err := s.ReadFile(context.Background(), root, "app/blobs/b", int64(len(blob))); err != nil || !bytes.Equal(got, blob) {
				t.Errorf("the blob does not come back: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestDefaultDir(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	dir, err := DefaultDir()
	if err != nil || dir != systemDir && dir != filepath.Join(data, "ipfs-registry") {
		t.Errorf("the default is %q, %v", dir, err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
