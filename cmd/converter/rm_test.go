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
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// storeOf returns the directory of a store with one root, of the given images,
// whose manifests are there under the paths of files.
func storeOf(t *testing.T, files map[string]string, images ...layout.Tagged) (dir string, root cid.Cid) {
	t.Helper()
	dir = t.TempDir()
	im, err := store.Open(dir).BeginImport()
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	if err := im.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	nodes := map[string]unixfs.Node{}
	for path, manifest := range files {
		table := unixfs.V1.NewTable()
		table.Add([]byte(manifest))
		block := table.Block(0, []byte(manifest))
		if err := im.Node(block); err != nil {
			t.Fatal(err)
		}
		nodes[path] = unixfs.Node{CID: block.CID, Size: uint64(len(manifest))}
	}
	top, err := unixfs.V1.Tree(t.Context(), nodes, im.Node)
	if err != nil {
		t.Fatal(err)
	}
	name, err := cidname.Format(top.CID)
	if err := errors.Join(err, im.Commit(top.CID, store.Record{Root: name, Images: images})); err != nil {
		t.Fatal(err)
	}
	return dir, top.CID
}

// An image goes by every name that it is pulled by, and by no other.
func TestRemove(t *testing.T) {
	d := digest.FromString("manifest")
	image := layout.Tagged{Name: "team/app", Tag: "v1", Digest: d}
	files := map[string]string{"team/app/manifests/v1": "manifest", "team/app/manifests/latest": "manifest"}
	_, root := storeOf(t, files)
	ciq, err := cidname.Format(root)
	if err != nil {
		t.Fatal(err)
	}
	want := ciq + "/team/app:v1\n"
	for _, ref := range []string{
		ciq, root.String(), cid.NewCidV0(root.Hash()).String(), "localhost:5000/" + ciq, "/ipfs/" + ciq,
		ciq + "/team/app", ciq + "/team/app:v1", ciq + "/team/app:latest", "registry.example/" + ciq + "/team/app@" + d.String(),
	} {
		dir, _ := storeOf(t, files, image)
		if stdout, err := run(t, "rm", ref, ciq, "--store", dir); err != nil || stdout != want {
			t.Errorf("rm %s prints %q, %v", ref, stdout, err)
		}
		if _, err := store.Open(dir).Record(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after rm %s: %v", ref, err)
		}
	}
	dir, _ := storeOf(t, files, image)
	for _, ref := range []string{
		"nginx", ciq + "/app", ciq + "/team", ciq + "/team/app:v2", ciq + "/other:v1", ciq[:54] + "a",
		ciq + "/team/app:latest-v2", ciq + "/team/app@" + digest.FromString("other").String(),
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

// Rm refuses to remove an image that was not named, where several share an address.
func TestRemoveOneOfSeveral(t *testing.T) {
	one, two := digest.FromString("one"), digest.FromString("two")
	files := map[string]string{"app/manifests/1": "one", "app/manifests/2": "two", "other/manifests/latest": "two"}
	files["other/manifests/"+two.String()] = "two"
	images := []layout.Tagged{{Name: "app", Tag: "1", Digest: one}, {Name: "app", Tag: "2", Digest: two}, {Name: "other", Digest: two}}
	dir, root := storeOf(t, files, images...)
	ciq, err := cidname.Format(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		named []string
		says  string
	}{
		{[]string{"/app:1"}, "/app:2 would go with it: `converter rm " + ciq + "` removes all 3 images"},
		{[]string{"/app@" + two.String()}, "/app:1 would go"},
		{[]string{"/app"}, "/other@" + two.String() + " would go"},
		{[]string{"/app:1", "/other"}, "/app:2 would go"},
		{[]string{"/app:latest"}, "is not in the store"},
		{[]string{"", "/app:latest"}, "is not in the store"},
		{[]string{"/other:1"}, "is not in the store"},
	} {
		args := []string{"rm", "--store", dir}
		for _, name := range test.named {
			args = append(args, ciq+name)
		}
		if stdout, err := run(t, args...); err == nil || !strings.Contains(err.Error(), test.says) || stdout != "" {
			t.Errorf("rm %q prints %q, %v", test.named, stdout, err)
		}
		if _, err := store.Open(dir).Record(root); err != nil {
			t.Fatalf("after rm %q: %v", test.named, err)
		}
	}
	for _, named := range [][]string{{""}, {"/app:1", ""}, {"/app:1", "/app:2", "/other:latest"}, {"/other", "/app"}} {
		dir, _ := storeOf(t, files, images...)
		args := []string{"rm", "--store", dir}
		for _, name := range named {
			args = append(args, ciq+name)
		}
		if stdout, err := run(t, args...); err != nil || strings.Count(stdout, "\n") != len(images) {
			t.Errorf("rm %q prints %q, %v", named, stdout, err)
		}
	}
}

// An image whose record is damaged is listed as that, and can be removed.
func TestRemoveDamaged(t *testing.T) {
	dir, root := storeOf(t, nil, layout.Tagged{Name: "app", Tag: "v1"})
	record := filepath.Join(dir, "images", root.String()+".json")
	if err := os.WriteFile(record, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if stdout, err := run(t, "images", "--store", dir); err == nil || !strings.Contains(err.Error(), record) || strings.Count(stdout, "\n") != 1 {
		t.Errorf("images prints %q, %v", stdout, err)
	}
	if stdout, err := run(t, "rm", root.String()+"/app:v1", "--store", dir); err == nil || !strings.Contains(err.Error(), "`converter rm "+root.String()+"`") {
		t.Errorf("rm of one image of those that are not known prints %q, %v", stdout, err)
	}
	if stdout, err := run(t, "rm", root.String(), "--store", dir); err != nil || stdout != root.String()+"\n" {
		t.Errorf("rm prints %q, %v", stdout, err)
	}
	if stdout, err := run(t, "images", "--store", dir); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Errorf("then images prints %q, %v", stdout, err)
	}
}

// Rm says how images go from the store's own root, which it does not change.
func TestRemoveRefusesStatesOfTheRoot(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	imageIn(t, "app:v1", "--store", dir, "--onto", "root")
	state, err := store.Open(dir).Root().Current()
	if err != nil {
		t.Fatal(err)
	}
	ciq, err := cidname.Format(state)
	if err != nil {
		t.Fatal(err)
	}
	const want = "is a state of the root of "
	if stdout, err := run(t, "rm", ciq, "--store", dir); err == nil || !strings.Contains(err.Error(), want) || stdout != "" {
		t.Errorf("%q, %v", stdout, err)
	}
}
