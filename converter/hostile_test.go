package converter_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/export"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/inspect"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A hostileRoot is a root whose files share most of their leaves. The CAR file has each
// block once.
type hostileRoot struct {
	t      *testing.T
	ws     *blob.Workspace
	tree   *tree.Tree
	blocks map[cid.Cid][]byte
}

func newHostileRoot(t *testing.T) *hostileRoot {
	ws, err := blob.NewWorkspace(t.Context(), t.TempDir(), blob.Form{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &hostileRoot{t, ws, &tree.Tree{Files: map[string]tree.File{}}, map[cid.Cid][]byte{}}
}

func (r *hostileRoot) keep(b unixfs.Block) error {
	if _, known := r.blocks[b.CID]; !known {
		r.blocks[b.CID] = append([]byte(nil), b.Data...)
	}
	return nil
}

// file returns a file of the root, and removes its temporary file.
func (r *hostileRoot) file(data string) tree.File {
	r.t.Helper()
	f, err := tree.NewFile(r.ws, []byte(data))
	if err != nil {
		r.t.Fatal(err)
	}
	if f.Blob == nil {
		return f
	}
	if err := f.Blob.WriteBlocks(r.t.Context(), r.keep); err != nil {
		r.t.Fatal(err)
	}
	os.Remove(f.Blob.Path)
	return f
}

// open writes the CAR file and opens it. It returns the size of the file as well.
func (r *hostileRoot) open() (from origin.Origin, root cid.Cid, size int64) {
	r.t.Helper()
	if err := r.tree.Finish(r.ws, nil, r.t.Logf); err != nil {
		r.t.Fatal(err)
	}
	for _, b := range append(r.tree.SmallFiles(), r.tree.Directories...) {
		r.keep(b)
	}
	path := filepath.Join(r.t.TempDir(), "hostile.car")
	f, err := os.Create(path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	w, err := car.NewWriter(f, r.tree.Root.CID)
	if err != nil {
		r.t.Fatal(err)
	}
	for c, data := range r.blocks {
		if err := w.Put(unixfs.Block{CID: c, Data: data}); err != nil {
			r.t.Fatal(err)
		}
	}
	info, err := f.Stat()
	if err != nil {
		r.t.Fatal(err)
	}
	return teststore.FromCAR(r.t, path), r.tree.Root.CID, info.Size()
}

// readers are all that read a root.
func readers(t *testing.T, from origin.Origin, root cid.Cid) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"copy": func(ctx context.Context) error {
			dst := teststore.ToCAR(t, filepath.Join(t.TempDir(), "copy.car"))
			defer dst.Close()
			_, err := converter.Copy(ctx, from, root, nowhere{dst}, converter.CopyOptions{})
			return err
		},
		"inspect": func(ctx context.Context) error {
			_, err := inspect.Inspect(ctx, from, root, origin.Selection{}, nil)
			return err
		},
		"export": func(ctx context.Context) error {
			return export.WriteArchive(ctx, from, root, io.Discard, export.Options{})
		},
		"verify": func(ctx context.Context) error {
			var fault error
			_, err := verify.New(from, func(f verify.Fault) { fault = f }, t.Logf).Verify(ctx, root, origin.Selection{})
			if err == nil {
				err = fault
			}
			return err
		},
	}
}

// nowhere is a destination that keeps nothing: what is copied may be much larger than
// what it was copied from.
type nowhere struct{ converter.Destination }

func (nowhere) Commit(ctx context.Context, t *tree.Tree) error {
	return t.WriteBlocks(ctx, func(unixfs.Block) error { return nil })
}

// Any number of tags cost no more than the manifests that they name.
func TestTagsCostWhatTheirManifestsCost(t *testing.T) {
	r := newHostileRoot(t)
	config := `{"os":"linux","rootfs":{"diff_ids":[]}}`
	r.tree.Files[layout.BlobPath("app", digest.FromString(config))] = r.file(config)
	layers := make([]string, 3000)
	for i := range layers {
		layers[i] = fmt.Sprintf(`{"mediaType":"x","digest":"%s","size":%d}`, digest.FromString(fmt.Sprint(i)), len(fmt.Sprint(i)))
	}
	for i := range 2 {
		data := fmt.Sprintf(`{"schemaVersion":2,"annotations":{"n":"%d"},"config":{"mediaType":"x","digest":"%s","size":%d},"layers":[%s]}`, i, digest.FromString(config), len(config), strings.Join(layers, ","))
		f := r.file(data)
		r.tree.Files[layout.ManifestPath("app", digest.FromString(data).String())] = f
		for n := range 20_000 {
			r.tree.Files[layout.ManifestPath("app", fmt.Sprintf("v%d-%d", i, n))] = f
		}
	}
	for i := range layers {
		r.tree.Files[layout.BlobPath("app", digest.FromString(fmt.Sprint(i)))] = r.file(fmt.Sprint(i))
	}
	from, root, _ := r.open()
	for command, read := range readers(t, from, root) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		start := time.Now()
		err := read(ctx)
		if err != nil {
			t.Errorf("%s of 40000 tags: %v", command, err)
		}
		t.Logf("%s takes %v: %v", command, time.Since(start), err)
		cancel()
	}
}
