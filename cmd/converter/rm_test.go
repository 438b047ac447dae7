package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// storeOf returns the directory of a store with one root, of the given images.
func storeOf(t *testing.T, images ...store.Image) (dir string, root cid.Cid) {
	t.Helper()
	dir = t.TempDir()
	im, err := store.Open(dir).Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if err := im.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	top, err := unixfs.V1.Tree(t.Context(), nil, im.Node)
	if err != nil {
		t.Fatal(err)
	}
	name, err := cidname.Format(top.CID)
	if err := errors.Join(err, im.Commit(top.CID, store.Record{Root: name, Images: images})); err != nil {
		t.Fatal(err)
	}
	return dir, top.CID
}

func TestRemove(t *testing.T) {
	d := digest.FromString("manifest")
	images := []store.Image{{Name: "team/app", Tag: "v1", Digest: d}, {Name: "other", Digest: d}}
	_, root := storeOf(t)
	ciq, err := cidname.Format(root)
	if err != nil {
		t.Fatal(err)
	}
	want := ciq + "/team/app:v1\n" + ciq + "/other@" + d.String() + "\n"
	for _, ref := range []string{
		ciq, root.String(), cid.NewCidV0(root.Hash()).String(), "localhost:5000/" + ciq, "/ipfs/" + ciq,
		ciq + "/team/app", ciq + "/team/app:v1", ciq + "/team/app:latest", "registry.example/" + ciq + "/team/app@" + d.String(), ciq + "/other",
	} {
		dir, _ := storeOf(t, images...)
		if stdout, err := run(t, "rm", ref, ciq, "--store", dir); err != nil || stdout != want {
			t.Errorf("rm %s prints %q, %v", ref, stdout, err)
		}
		if _, err := store.Open(dir).Record(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after rm %s: %v", ref, err)
		}
	}
	dir, _ := storeOf(t, images...)
	for _, ref := range []string{
		"nginx", ciq + "/app", ciq + "/team", ciq + "/team/app:v2", ciq + "/other:v1", ciq[:54] + "a",
		"ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi",
	} {
		stdout, err := run(t, "rm", ciq, ref, "--store", dir)
		if err == nil || !strings.Contains(err.Error(), ref) || stdout != "" {
			t.Errorf("rm %s prints %q, %v", ref, stdout, err)
		}
		if _, err := store.Open(dir).Record(root); err != nil {
			t.Errorf("after rm %s: %v", ref, err)
		}
	}
}

// An image whose record is damaged is listed as that, and can be removed.
func TestRemoveDamaged(t *testing.T) {
	dir, root := storeOf(t, store.Image{Name: "app", Tag: "v1"})
	record := filepath.Join(dir, "images", root.String()+".json")
	if err := os.WriteFile(record, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if stdout, err := run(t, "images", "--store", dir); err == nil || !strings.Contains(err.Error(), record) || strings.Count(stdout, "\n") != 1 {
		t.Errorf("images prints %q, %v", stdout, err)
	}
	if stdout, err := run(t, "rm", root.String(), "--store", dir); err != nil || stdout != root.String()+"\n" {
		t.Errorf("rm prints %q, %v", stdout, err)
	}
	if stdout, err := run(t, "images", "--store", dir); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Errorf("then images prints %q, %v", stdout, err)
	}
}
