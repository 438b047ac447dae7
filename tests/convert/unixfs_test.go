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

func buildTree(t *testing.T, profile unixfs.Profile, dir string) cid.Cid {
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
	root, err := profile.Tree(context.Background(), files, func(unixfs.Block) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return root.CID
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
		create(t, filepath.Join(dir, fmt.Sprintf("sha256:%064x", i*i)), strings.NewReader(fmt.Sprint(i)))
	}
}

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
