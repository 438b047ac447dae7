package converter

import (
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// old is the directory that image2ipfs 0.1.0 writes.
func old(layers ...[]byte) map[string][]byte {
	d := map[string][]byte{}
	var config v1.Image
	m := dockerManifest{SchemaVersion: 2, MediaType: layout.DockerManifest}
	for _, tar := range layers {
		diffID, z := digest.FromBytes(tar), testimage.Gzipped(tar)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		d[layout.BlobPath("app", diffID)] = z
		m.Layers = append(m.Layers, descriptor{layout.DockerLayerGzip, int64(len(z)), diffID})
	}
	is := testimage.Describe(layout.DockerConfig, testimage.Marshal(config))
	d[layout.BlobPath("app", is.Digest)] = testimage.Marshal(config)
	m.Config = descriptor{is.MediaType, is.Size, is.Digest}
	d[layout.ManifestPath("app", layout.LatestNames(layout.DockerManifest)[1])] = testimage.Marshal(m)
	return d
}

func TestRepair(t *testing.T) {
	one, two := testimage.Layer("a", 600_000), testimage.Layer("b", 10)
	from, root := teststore.Of(t, old(one, two, one))
	_, faults := verified(t, from, root, origin.Selection{})
	if len(faults) != 1 || !strings.Contains(faults[0], "image2ipfs") {
		t.Errorf("the faults are %q", faults)
	}
	dir := t.TempDir()
	dst := teststore.To(t, dir)
	defer dst.Close()
	result, err := Repair(t.Context(), from, root, origin.Selection{Name: "app"}, dst, RepairOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, faults := verified(t, teststore.From(t, dir), result.Root, origin.Selection{}); len(faults) > 0 {
		t.Errorf("repaired, it is wrong: %q", faults)
	}
	if _, err := Repair(t.Context(), teststore.From(t, dir), result.Root, origin.Selection{}, teststore.To(t, t.TempDir()), RepairOptions{}); err == nil || !strings.Contains(err.Error(), "nothing to repair") {
		t.Errorf("repairing it again: %v", err)
	}
}

// An image that cannot be repaired is refused with a reason.
func TestRepairRefuses(t *testing.T) {
	tar := testimage.Layer("a", 10)
	layer := layout.BlobPath("app", digest.FromBytes(tar))
	for want, spoil := range map[string]func(d map[string][]byte){
		"is missing":             func(d map[string][]byte) { delete(d, layer) },
		"and the manifest says":  func(d map[string][]byte) { d[layer] = testimage.Gzipped(append(tar, tar...)) },
		"it does not decompress": func(d map[string][]byte) { d[layer][len(d[layer])-5] ^= 1 },
	} {
		d := old(tar)
		spoil(d)
		from, root := teststore.Of(t, d)
		dst := teststore.To(t, t.TempDir())
		_, err := Repair(t.Context(), from, root, origin.Selection{}, dst, RepairOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), string(digest.FromBytes(tar))) {
			t.Errorf("%s: %v", want, err)
		}
		dst.Close()
	}
}

// verified returns what is right below a root, or one line for each fault.
func verified(t *testing.T, from origin.Origin, root cid.Cid, s origin.Selection) (right *verify.Verified, faults []string) {
	t.Helper()
	v := verify.New(from, func(f verify.Fault) { faults = append(faults, f.Error()) }, t.Logf)
	right, err := v.Verify(t.Context(), root, s)
	if err != nil {
		t.Fatal(err)
	}
	return right, faults
}
