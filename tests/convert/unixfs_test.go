package convert

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter and Kubo build the same DAG for the same files and profile, so both give
// the same root.
func TestDAGsAreThoseOfKubo(t *testing.T) {
	harness.Parallel(t)
	for _, tree := range []struct {
		name  string
		write func(t *testing.T, dir string)
	}{
		{"files", writeFiles},
		{"sharded", func(t *testing.T, dir string) { writeMany(t, dir, 6000) }},
		{"at the threshold", func(t *testing.T, dir string) { writeMany(t, dir, 2300) }},
	} {
		dir := t.TempDir()
		tree.write(t, dir)
		for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
			t.Run(tree.name+"/"+profile.String(), func(t *testing.T) {
				want := cid.MustParse(harness.IPFSAdd(t, profile.String(), dir))
				if got := buildTree(t, profile, dir); got != want {
					t.Errorf("the root is %s, and Kubo's is %s", got, want)
				}
			})
		}
	}
}

// A tree that is edited has the root that Kubo gives the same files, however large a
// directory was before.
func TestEditedDAGsAreThoseOfKubo(t *testing.T) {
	harness.Parallel(t)
	for _, profile := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		t.Run(profile.String(), func(t *testing.T) {
			harness.Parallel(t)
			dir := t.TempDir()
			many := filepath.Join(dir, "app", "many")
			writeMany(t, many, 1000)
			create(t, filepath.Join(dir, "app", "other", "file"), strings.NewReader("stays"))
			root, blocks := cid.Undef, map[cid.Cid][]byte{}
			edit := func(changes map[string]*unixfs.Node) {
				t.Helper()
				get := func(_ context.Context, c cid.Cid) ([]byte, error) { return blocks[c], nil }
				edited, err := profile.Edit(t.Context(), get, root, changes, func(b unixfs.Block) error {
					blocks[b.CID] = b.Data
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				root = edited.CID
			}
			compare := func(what string) {
				t.Helper()
				if want := cid.MustParse(harness.IPFSAdd(t, profile.String(), dir)); root != want {
					t.Errorf("%s: the root is %s, and Kubo's is %s", what, root, want)
				}
			}
			put := func() map[string]*unixfs.Node {
				changes := map[string]*unixfs.Node{}
				for name, n := range filesOf(t, profile, dir) {
					changes[name] = &n
				}
				return changes
			}
			remove := func(from, to int) {
				for _, batch := range [][2]int{{from, from + 1}, {from + 1, to}} {
					changes := map[string]*unixfs.Node{}
					for i := batch[0]; i < batch[1]; i++ {
						name := manyName(i)
						changes["app/many/"+name] = nil
						if err := os.Remove(filepath.Join(many, name)); err != nil {
							t.Fatal(err)
						}
					}
					edit(changes)
				}
			}
			edit(put())
			compare("1,000 files")
			writeMany(t, many, 6000)
			edit(put())
			compare("6,000 files")
			remove(1000, 2500)
			compare("4,500 files, still sharded")
			remove(2500, 6000)
			compare("1,000 files again")
			remove(0, 1000)
			if err := os.Remove(many); err != nil {
				t.Fatal(err)
			}
			compare("one file")
		})
	}
}

func buildTree(t *testing.T, profile unixfs.Profile, dir string) cid.Cid {
	t.Helper()
	root, err := profile.Tree(t.Context(), filesOf(t, profile, dir), func(unixfs.Block) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return root.CID
}

// filesOf returns the DAGs of the files in a directory by path.
func filesOf(t *testing.T, profile unixfs.Profile, dir string) map[string]unixfs.Node {
	t.Helper()
	files := map[string]unixfs.Node{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		cutter := profile.NewCutter()
		if _, err := io.Copy(cutter, f); err != nil {
			return err
		}
		file, err := profile.Layout(cutter.Table())
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = file.Node
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func writeFiles(t *testing.T, dir string) {
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range map[string]int64{
		"empty":               0,
		"one byte":            1,
		"app/blobs/sha256:00": 300_000,
		"app/blobs/sha256:01": 1 << 18,
		"app/blobs/sha256:02": 1 << 20,
		"app/blobs/sha256:03": 1<<20 + 1,
		"app/blobs/sha256:04": 60_000_000,
		"app/manifests/1.0":   500,
	} {
		create(t, filepath.Join(dir, filepath.FromSlash(name)), io.LimitReader(random, size))
	}
	sparse := filepath.Join(dir, "app/blobs/sha256:05")
	create(t, sparse, strings.NewReader("begins with a word"))
	if err := os.Truncate(sparse, 1<<30+1<<20+7); err != nil {
		t.Fatal(err)
	}
}

func writeMany(t *testing.T, dir string, n int) {
	for i := range n {
		create(t, filepath.Join(dir, manyName(i)), strings.NewReader(fmt.Sprint(i)))
	}
}

func manyName(i int) string { return fmt.Sprintf("sha256:%064x", i*i) }

func create(t *testing.T, path string, r io.Reader) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
}
