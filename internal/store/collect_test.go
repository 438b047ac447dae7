package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A testImage is a directory of blobs and a small file.
type testImage struct {
	root  cid.Cid
	blobs map[string]*unixfs.File // by content
	small []byte
}

// put imports an image of the given blobs.
func put(t testing.TB, s *Store, profile unixfs.Profile, contents ...string) testImage {
	t.Helper()
	img := testImage{blobs: map[string]*unixfs.File{}, small: fmt.Append(nil, "manifest of ", len(contents))}
	im, err := s.BeginImport()
	if err != nil {
		t.Error(err)
		return img
	}
	defer func() { check(t, im.Close()) }()
	files := map[string]unixfs.Node{}
	for i, content := range contents {
		cutter := profile.NewCutter()
		cutter.Write([]byte(content))
		f, err := profile.Layout(cutter.Table())
		check(t, err)
		img.blobs[content] = f
		files["app/blobs/"+digest.FromString(content).String()] = f.Node
		check(t, os.WriteFile(filepath.Join(im.TempDir(), fmt.Sprint(i)), []byte(content), 0o600))
	}
	check(t, im.Lock(context.Background()))
	for i, content := range contents {
		check(t, im.Blob(filepath.Join(im.TempDir(), fmt.Sprint(i)), digest.FromString(content), img.blobs[content]))
	}
	table := profile.NewTable()
	table.Add(img.small)
	block := table.Block(0, img.small)
	check(t, im.Node(block))
	files["app/manifests/m"] = unixfs.Node{CID: block.CID, Size: uint64(len(block.Data))}
	root, err := profile.Tree(context.Background(), files, im.Node)
	check(t, err)
	img.root = root.CID
	check(t, im.Commit(root.CID, Record{Root: root.CID.String(), Created: time.Unix(int64(len(contents)), 0)}))
	return img
}

// mustBeIn fails the test unless the store has every byte of the image.
func (img testImage) mustBeIn(t testing.TB, s *Store) {
	t.Helper()
	if got, err := s.ReadFile(context.Background(), img.root, "app/manifests/m", 1000); err != nil || !bytes.Equal(got, img.small) {
		t.Errorf("the small file is %q, %v", got, err)
	}
	for content := range img.blobs {
		got, err := s.ReadFile(context.Background(), img.root, "app/blobs/"+digest.FromString(content).String(), 1<<30)
		if err != nil || string(got) != content {
			t.Errorf("a blob of %d bytes has %d bytes in the store: %v", len(content), len(got), err)
		}
	}
	if err := s.newWalk().follow(context.Background(), img.root); err != nil {
		t.Errorf("the image is not whole: %v", err)
	}
}

func collect(t testing.TB, s *Store) Collected {
	t.Helper()
	c, err := s.Collect(context.Background(), false)
	check(t, err)
	return c
}

// paths returns the files of a store without its locks.
func paths(t testing.TB, s *Store) []string {
	t.Helper()
	var all []string
	check(t, filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Dir(path) != s.Dir() {
			all = append(all, path)
		}
		return err
	}))
	return all
}

// long returns the content of a blob that has several leaves and nodes above them.
func long(about string) string { return strings.Repeat(about+" ", 3<<20/len(about)) }

func TestCollectRemovesWhatNoImageNeeds(t *testing.T) {
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		s := Open(t.TempDir())
		kept := put(t, s, profile, long("shared"), long("its own"), "short")
		before := paths(t, s)
		gone := put(t, s, profile, long("shared"), long("the other's"), "short", "")
		after := paths(t, s)
		if c := collect(t, s); c != (Collected{}) {
			t.Errorf("%s: Collect removed %v of images with a record", profile, c)
		}
		check(t, s.Remove(t.Context(), gone.root))
		want, err := s.Collect(t.Context(), true)
		if now := paths(t, s); err != nil || len(now) != len(after)-1 {
			t.Errorf("%s: %d files before a dry run, %d after it: %v", profile, len(after)-1, len(now), err)
		}
		if c := collect(t, s); c != want || c.Files != len(after)-1-len(before) || c.Bytes < int64(len(long("the other's"))) {
			t.Errorf("%s: Collect removed %v, a dry run announced %v, and %d files should go", profile, c, want, len(after)-1-len(before))
		}
		if now := paths(t, s); !slices.Equal(now, before) {
			t.Errorf("%s: the store has %q, and had %q before", profile, now, before)
		}
		kept.mustBeIn(t, s)
		put(t, s, profile, long("shared"), long("the other's"), "short", "").mustBeIn(t, s)
	}
}

func TestCollectKeepsShardedDirectories(t *testing.T) {
	s := Open(t.TempDir())
	im := must(s.BeginImport())(t)
	check(t, im.Lock(t.Context()))
	table := unixfs.V1.NewTable()
	table.Add(small)
	block := table.Block(0, small)
	check(t, im.Node(block))
	entries, shards := map[string]unixfs.Node{}, 0
	for i := range 3000 {
		entries[digest.FromString(fmt.Sprint(i)).String()] = unixfs.Node{CID: block.CID, Size: uint64(len(small))}
	}
	dir, err := unixfs.V1.Directory(t.Context(), entries, func(b unixfs.Block) error {
		shards++
		return im.Node(b)
	})
	check(t, err)
	check(t, im.Commit(dir.CID, Record{Root: dir.CID.String()}))
	check(t, im.Close())
	if shards < 2 {
		t.Errorf("the directory is not sharded: %d blocks", shards)
	}
	if c := collect(t, s); c != (Collected{}) {
		t.Errorf("Collect removed %v of a root with a record", c)
	}
	check(t, s.newWalk().follow(t.Context(), dir.CID))
}

// The same digest can be a node in one image, and a file or a blob in another.
func TestCollectTellsNodesAndBlobsOfOneDigestApart(t *testing.T) {
	s := Open(t.TempDir())
	victim := put(t, s, unixfs.V0, long("a"), long("b"))
	root, err := s.readNode(victim.root)
	check(t, err)
	files := must(unixfs.Walk(t.Context(), s.node, victim.root, "app"))(t)
	app, err := s.readNode(files)
	check(t, err)
	// These blobs have the bytes of the victim's directories, in every order of roots.
	raw := put(t, s, unixfs.V1, string(root), string(app))

	// One file is the beginning of another: its root is a node there.
	leaves := make([]byte, 2048)
	for i := range leaves {
		leaves[i] = byte(rand.Uint32())
	}
	whole := importCut(t, s, leaves)
	begin := importCut(t, s, leaves[:1024])
	if _, err := os.Stat(s.nodePath(begin.blobs[string(leaves[:1024])].CID)); err != nil {
		t.Fatal("the shorter file is no node of the longer")
	}
	images := []testImage{victim, raw, whole, begin}
	for range 2 {
		w := s.newWalk()
		for _, img := range images {
			check(t, w.follow(t.Context(), img.root))
		}
		for _, img := range images {
			for content, f := range img.blobs {
				if _, kept := w.blobs[digest.FromString(content)]; !kept || !w.has(f.CID) {
					t.Errorf("a walk over all images missed a blob of %d bytes", len(content))
				}
			}
		}
		slices.Reverse(images)
	}
}

// importCut imports an image of one blob whose leaves are a byte each.
func importCut(t *testing.T, s *Store, content []byte) testImage {
	t.Helper()
	table := unixfs.V1.NewTable()
	for i := range content {
		table.Add(content[i : i+1])
	}
	f, err := unixfs.V1.Layout(table)
	check(t, err)
	im, err := s.BeginImport()
	check(t, err)
	defer im.Close()
	check(t, im.Lock(t.Context()))
	path := filepath.Join(im.TempDir(), "blob")
	check(t, os.WriteFile(path, content, 0o600))
	check(t, im.Blob(path, digest.FromBytes(content), f))
	root, err := unixfs.V1.Tree(t.Context(), map[string]unixfs.Node{"b": f.Node}, im.Node)
	check(t, err)
	check(t, im.Commit(root.CID, Record{Root: root.CID.String()}))
	return testImage{root: root.CID, blobs: map[string]*unixfs.File{string(content): f}}
}

// While an image is damaged, Collect removes no file that might belong to it.
func TestCollectRefusesWhenAnImageIsDamaged(t *testing.T) {
	s := Open(t.TempDir())
	content := long("content")
	img := put(t, s, unixfs.V1, content, "short")
	gone := put(t, s, unixfs.V1, "another")
	check(t, s.Remove(t.Context(), gone.root))
	app := must(unixfs.Walk(t.Context(), s.node, img.root, "app"))(t)
	file := img.blobs[content].CID
	for _, path := range []string{
		s.nodePath(img.root), s.nodePath(app), s.nodePath(file), s.filePath(file), s.blobPath(digest.FromString(content)),
	} {
		whole, err := os.ReadFile(path)
		check(t, err)
		flipped := slices.Clone(whole)
		flipped[len(flipped)/2] ^= 1
		for _, damage := range [][]byte{nil, {}, whole[:len(whole)-1], append(slices.Clone(whole), 0), flipped} {
			if bytes.Equal(damage, flipped) && filepath.Dir(path) == filepath.Join(s.Dir(), "blobs", "sha256") {
				continue // the content of blobs is not read
			}
			check(t, os.RemoveAll(path))
			if damage != nil {
				check(t, os.WriteFile(path, damage, 0o644))
			}
			before := paths(t, s)
			_, err := s.Collect(t.Context(), false)
			if broken, ok := errors.AsType[*ImageError](err); !ok || !broken.Root.Equals(img.root) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s with %d bytes: the error is %v", path, len(damage), err)
			}
			if now := paths(t, s); !slices.Equal(now, before) {
				t.Errorf("%s with %d bytes: the store has %q, and had %q before", path, len(damage), now, before)
			}
		}
		check(t, os.WriteFile(path, whole, 0o644))
	}
	if c := collect(t, s); c.Files == 0 {
		t.Error("Collect removed nothing after the image was restored")
	}
	img.mustBeIn(t, s)
	check(t, os.Remove(s.nodePath(img.root)))
	check(t, s.Remove(t.Context(), img.root))
	collect(t, s)
	if left := paths(t, s); len(left) > 0 {
		t.Errorf("after the damaged image was removed, the store has %q", left)
	}
}

// Files that are not the store's stay, whatever their names are.
func TestCollectKeepsForeignFiles(t *testing.T) {
	s := Open(t.TempDir())
	img := put(t, s, unixfs.V1, "content")
	name := filepath.Base(s.nodePath(img.root))
	hex := digest.FromString("not in any image").Encoded()
	var others []string
	for _, name := range []string{
		"README", "nodes/README", "nodes/xx/" + name, "nodes/" + name, "nodes/aa/README", "files/README", "files/" + strings.ToUpper(name),
		"files/" + cid.NewCidV0(img.root.Hash()).String(), "blobs/README", "blobs/sha256/README", "blobs/sha256/" + hex[1:], "blobs/md5/" + hex[:32],
		"blobs/sha256/" + strings.ToUpper(hex), "images/" + name, "tmp/README", "tmp/mine/README", "blobs/sha256/" + hex + "/README",
	} {
		path := filepath.Join(s.Dir(), name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, nil, 0o644))
		others = append(others, path)
	}
	if c := collect(t, s); c != (Collected{}) {
		t.Errorf("Collect removed %v", c)
	}
	for _, path := range others {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// Other programs keep blobs in the same places as a store.
func TestCollectRemovesOnlyFromStores(t *testing.T) {
	s := Open(t.TempDir())
	blob := filepath.Join(s.Dir(), "blobs", "sha256", digest.FromString("somebody's").Encoded())
	check(t, os.MkdirAll(filepath.Dir(blob), 0o755))
	check(t, os.WriteFile(blob, nil, 0o644))
	if c, err := s.Collect(t.Context(), false); err != nil || c != (Collected{}) {
		t.Errorf("in a directory that is not a store: %v, %v", c, err)
	}
	put(t, s, unixfs.V1, "content")
	check(t, os.WriteFile(filepath.Join(s.Dir(), "oci-layout"), nil, 0o644))
	if c, err := s.Collect(t.Context(), false); err == nil || c != (Collected{}) {
		t.Errorf("in an OCI layout: %v, %v", c, err)
	}
	if _, err := os.Stat(blob); err != nil {
		t.Error(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	if c, err := Open(none).Collect(t.Context(), false); err != nil || c != (Collected{}) {
		t.Errorf("in a missing directory: %v, %v", c, err)
	}
	if _, err := os.Stat(none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Collect made %s: %v", none, err)
	}
}

// A collection that is cancelled at any point does no harm, and the next one does the
// rest.
func TestCollectCanBeInterrupted(t *testing.T) {
	s := Open(t.TempDir())
	kept := put(t, s, unixfs.V1, long("shared"), "kept")
	want := paths(t, s)
	for after := range 200 {
		gone := put(t, s, unixfs.V1, long("shared"), long("gone"), "gone", "x")
		check(t, s.Remove(t.Context(), gone.root))
		ctx := &expiring{Context: t.Context(), left: after}
		_, err := s.Collect(ctx, false)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		kept.mustBeIn(t, s)
		collect(t, s)
		if now := paths(t, s); !slices.Equal(now, want) {
			t.Fatalf("the store has %q, and had %q before", now, want)
		}
		if err == nil {
			if after < 20 {
				t.Errorf("the collection looked at its context only %d times", after)
			}
			return
		}
	}
	t.Error("the collection never ended")
}

// expiring is a context that is done after Err was called a number of times.
type expiring struct {
	context.Context
	left int
}

func (c *expiring) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// A reader of a blob that Collect removes can read it to its end.
func TestCollectDoesNotDisturbReaders(t *testing.T) {
	s := Open(t.TempDir())
	content := long("read")
	img := put(t, s, unixfs.V1, content)
	f, err := s.Open(t.Context(), img.root, "app/blobs/"+digest.FromString(content).String())
	check(t, err)
	defer f.Close()
	check(t, s.Remove(t.Context(), img.root))
	collect(t, s)
	if left := paths(t, s); len(left) > 0 {
		t.Errorf("the store has %q", left)
	}
	if got, err := io.ReadAll(f); err != nil || string(got) != content {
		t.Errorf("the reader got %d bytes, %v", len(got), err)
	}
}

// A blob on which an import relies stays until the record of the import is written,
// whatever other processes collect and remove meanwhile.
func TestImportsFindTheBlobsOnWhichTheyRely(t *testing.T) {
	dir := t.TempDir()
	shared := long("shared")
	ctx, stop := context.WithCancel(t.Context())
	var collectors, importers sync.WaitGroup
	collections := 0
	collectors.Go(func() {
		for ctx.Err() == nil {
			if _, err := Open(dir).Collect(ctx, false); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			collections++
		}
	})
	const workers, rounds = 6, 8
	kept := make([][]testImage, workers)
	for i := range workers {
		importers.Go(func() {
			s := Open(dir)
			for round := range rounds {
				img := put(t, s, unixfs.V1, shared, fmt.Sprint("of ", i, round%3), fmt.Sprint("short ", i, round))
				img.mustBeIn(t, s)
				if round%2 == 0 {
					check(t, s.Remove(context.Background(), img.root))
				} else {
					kept[i] = append(kept[i], img)
				}
			}
		})
	}
	importers.Wait()
	stop()
	collectors.Wait()
	s := Open(dir)
	collect(t, s)
	for _, images := range kept {
		for _, img := range images {
			img.mustBeIn(t, s)
		}
	}
	roots, err := s.roots()
	if err != nil || len(roots) != workers*rounds/2 {
		t.Errorf("the store has %d images: %v", len(roots), err)
	}
	if left, err := os.ReadDir(s.tmp()); err != nil || len(left) > 0 {
		t.Errorf("in tmp: %v, %v", left, err)
	}
	t.Logf("%d imports beside %d collections", workers*rounds, collections)
}

// A collection gets its turn among imports that never stop.
func TestCollectionGetsATurnAmongImports(t *testing.T) {
	dir := t.TempDir()
	put(t, Open(dir), unixfs.V1, "content")
	done := make(chan struct{})
	var adding sync.WaitGroup
	for range 2 {
		held, err := Open(dir).lock(t.Context(), shared)
		check(t, err)
		adding.Go(func() {
			for { // the next import begins before the last one ends
				patience, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				next, err := Open(dir).lock(patience, shared)
				cancel()
				release(held)
				if err != nil {
					next, err = Open(dir).lock(t.Context(), shared)
					check(t, err)
				}
				held = next
				select {
				case <-done:
					release(held)
					return
				default:
				}
			}
		})
	}
	collect(t, Open(dir))
	close(done)
	adding.Wait()
}

func TestWaitingForALockEndsWithItsContext(t *testing.T) {
	s := Open(t.TempDir())
	img := put(t, s, unixfs.V1, "content")
	im, err := s.BeginImport()
	check(t, err)
	check(t, im.Lock(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.Collect(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("collecting beside an import: %v", err)
	}
	if err := s.Remove(ctx, img.root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("removing beside an import: %v", err)
	}
	check(t, im.Close())
	check(t, s.Remove(t.Context(), img.root))
	put(t, s, unixfs.V1, "content").mustBeIn(t, s)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
