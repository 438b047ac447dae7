package layout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// A counted is a tree that counts what is read from it, and fails once if it is told to.
type counted struct {
	forest
	files, dirs int
	fail        error // the next file, once
}

func (c *counted) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	c.files++
	if err := c.fail; err != nil {
		c.fail = nil
		return nil, err
	}
	return c.forest.ReadFile(ctx, root, path, limit)
}

func (c *counted) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	c.dirs++
	return c.forest.ReadDir(ctx, root, path)
}

// Manifests that are not named by their digest are read once, however many digests are
// asked for that none of them has.
func TestUnknownDigestsCostOnce(t *testing.T) {
	root := cid.MustParse(bafy)
	files := tree{"app/manifests/page": "<html>"}
	var manifests []string
	for i := range maxUnnamed - 1 {
		m := manifestOf(desc, fmt.Sprint(i))
		manifests = append(manifests, m)
		files[fmt.Sprintf("app/manifests/v%d", i)] = m
	}
	trees := &counted{forest: forest{root: files}}
	index := newUnnamedIndex(Image{root, "app"})
	unknown := func(i int) digest.Digest { return digest.FromString(fmt.Sprint("unknown", i)) }

	trees.fail = errors.New("a gateway failed")
	if _, err := index.manifest(t.Context(), trees, unknown(0)); errors.Is(err, fs.ErrNotExist) || err == nil {
		t.Errorf("while a manifest cannot be read, the error is %v", err)
	}
	for i := range 100 {
		if _, err := index.manifest(t.Context(), trees, unknown(i)); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if trees.files != maxUnnamed+1 || trees.dirs != 1 {
		t.Errorf("a hundred unknown digests cost %d files and %d directories", trees.files, trees.dirs)
	}
	for _, m := range manifests {
		for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			d := a.FromString(m)
			got, err := index.manifest(t.Context(), trees, d)
			if err != nil || string(got.Data) != m || got.Digest != d {
				t.Errorf("%s: %q, %v", d, got.Data, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	index.turn <- struct{}{}
	if _, err := index.manifest(ctx, trees, unknown(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left waits: %v", err)
	}
}
