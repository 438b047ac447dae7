package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// ErrImage2ipfs is the error for an image of image2ipfs 0.1.0. Its layers are
// compressed, and have the digests of the uncompressed tars.
var ErrImage2ipfs = errors.New("image2ipfs 0.1.0 wrote it, with the digests of tars for its compressed layers, and no client can pull it")

// compare compares everything that was read with everything else. logf is called for
// what is missing and may be missing.
func (t *rootCheck) compare(ctx context.Context, logf func(string, ...any)) {
	for _, key := range slices.Sorted(maps.Keys(t.contents)) {
		if f := t.contents[key]; f != nil && f.blobReport != nil && f.err == nil {
			t.compareDigests(f)
		}
	}
	compared := map[string]bool{}
	byDigest := t.namesWithDigests()
	for _, p := range slices.Sorted(maps.Keys(t.manifests)) {
		if ctx.Err() != nil {
			return
		}
		name, part, file := layout.Split(p)
		m := t.manifests[p]
		if part == layout.About {
			t.compareReferrers(p, name, m)
			continue
		}
		if !layout.IsDigest(file) && byDigest[name] && !t.entries[layout.ManifestPath(name, m.Digest.String())].Defined() {
			t.fault(p, m.cid, fmt.Errorf("it is not there by its digest, %s", m.Digest))
		}
		if key := name + "@" + m.Digest.String(); !compared[key] {
			compared[key] = true
			t.compareManifest(p, name, m, logf)
		}
	}
}

// namesWithDigests returns the names of which a manifest is there by its digest. Other
// programs may write manifests by tag alone.
func (t *rootCheck) namesWithDigests() map[string]bool {
	names := map[string]bool{}
	for p := range t.entries {
		if name, part, file := layout.Split(p); part == layout.Document && layout.IsDigest(file) {
			names[name] = true
		}
	}
	return names
}

// compareDigests compares a blob with the digests that are its names.
func (t *rootCheck) compareDigests(f *storedFile) {
	for _, p := range f.paths {
		_, part, file := layout.Split(p)
		d, err := layout.ParseDigest(file)
		if part != layout.Content || err != nil || f.digests[d.Algorithm()] == d {
			continue
		}
		if f.encoding == blob.Gzipped && f.diffIDs[d.Algorithm()] == d {
			t.byDiffID[p] = true // compareManifest reports it
			continue
		}
		t.fault(p, f.cid, wrongDigest(f.digests[d.Algorithm()]))
	}
}

func (t *rootCheck) compareManifest(p, name string, m *checkedManifest, logf func(string, ...any)) {
	if m.IsIndex() {
		t.compareIndex(p, name, m, logf)
	}
	isImage2ipfs := false
	for _, d := range m.Blobs() {
		at := layout.BlobPath(name, d.Digest)
		isImage2ipfs = isImage2ipfs || t.byDiffID[at]
		if !t.entries[at].Defined() && !manifest.IsForeign(d.MediaType) {
			t.fault(at, cid.Undef, fmt.Errorf("it is missing: manifest %s names it", m.Digest))
		}
		t.compareSize(at, d, "manifest", m)
	}
	if isImage2ipfs {
		t.fault(p, m.cid, ErrImage2ipfs)
	}
	t.compareLayers(name, m)
}

// compareIndex compares an index with what it lists. It may list manifests that its
// archive did not have.
func (t *rootCheck) compareIndex(p, name string, m *checkedManifest, logf func(string, ...any)) {
	found, blobs := 0, 0
	for _, d := range m.Manifests {
		at := pathOf(name, d)
		if !t.entries[at].Defined() {
			logf("%s (%s) is missing, and may be: %s lists it", platform.Describe(d), d.Digest, m.Digest)
			continue
		}
		found++
		if !manifest.IsManifest(d) {
			blobs++
		}
		t.compareSize(at, d, "index", m)
	}
	switch {
	case found == 0 && len(m.Manifests) > 0:
		t.fault(p, m.cid, errors.New("nothing that it lists is there"))
	case blobs == found && found > 0:
		logf("index %s lists %d blobs and no manifest, as a build cache does", m.Digest, blobs)
	}
}

// compareSize compares the size of what is at a path, if it could be read, with its
// descriptor in a manifest or index.
func (t *rootCheck) compareSize(at string, d v1.Descriptor, kind string, m *checkedManifest) {
	c := t.entries[at]
	size := d.Size
	if named := t.manifests[at]; named != nil {
		size = int64(len(named.Data))
	} else if f := t.contents[c.KeyString()]; f != nil {
		size = f.size
	}
	if size != d.Size {
		t.fault(at, c, fmt.Errorf("it has %d bytes, and %s %s says %d", size, kind, m.Digest, d.Size))
	}
}

// compareLayers compares decompressed layers with what the config says of them.
func (t *rootCheck) compareLayers(name string, m *checkedManifest) {
	config, err := t.config(name, m)
	if config == nil && err == nil {
		return
	}
	at := layout.BlobPath(name, m.Config.Digest)
	switch {
	case err != nil:
		t.fault(at, t.entries[at], err)
		return
	case len(config.DiffIDs) != len(m.Layers):
		t.fault(at, t.entries[at], fmt.Errorf("it has %d layers, and manifest %s has %d", len(config.DiffIDs), m.Digest, len(m.Layers)))
		return
	}
	for i, d := range m.Layers {
		f := t.blob(name, d.Digest)
		if f == nil || f.blobReport == nil || f.err != nil || !m.Checked(i) {
			continue
		}
		at, want := layout.BlobPath(name, d.Digest), config.DiffIDs[i]
		switch got := f.diffIDs[want.Algorithm()]; {
		case f.broken != nil:
			t.fault(at, f.cid, f.broken)
		case got != want:
			t.fault(at, f.cid, fmt.Errorf("it is %s uncompressed, and config %s says %s", got, m.Config.Digest, want))
		}
	}
}

// compareReferrers compares an index of referrers with these.
func (t *rootCheck) compareReferrers(p, name string, index *checkedManifest) {
	_, _, subject := layout.Split(p)
	for _, d := range index.Manifests {
		at := layout.ManifestPath(name, d.Digest.String())
		m := t.manifests[at]
		switch {
		case !t.entries[at].Defined():
			t.fault(at, cid.Undef, fmt.Errorf("it is missing: %s lists it", p))
		case m != nil && (m.Subject == nil || m.Subject.Digest.String() != subject):
			t.fault(p, index.cid, fmt.Errorf("it lists %s, which has another subject", d.Digest))
		default:
			t.compareSize(at, d, "index", index)
		}
	}
}

// verified returns the images and how much was read of each.
func (t *rootCheck) verified(ctx context.Context) *Verified {
	selected, err := t.selection.Images(ctx, t.from, t.root)
	if err != nil {
		t.fault("", cid.Undef, err)
		return nil
	}
	v := &Verified{Listing: tree.Listing{Root: t.root, Latest: map[string]digest.Digest{}}}
	for _, img := range selected {
		v.Images = append(v.Images, img.Tagged)
		size, err := t.sizeRead(img.Name, img.Tag, img.Digest.String())
		if err != nil {
			t.fault("", cid.Undef, err)
			return nil
		}
		v.Sizes = append(v.Sizes, size)
		latest := t.manifests[layout.ManifestPath(img.Name, layout.Latest)]
		if latest != nil && latest.Digest == img.Digest {
			v.Latest[img.Name] = img.Digest
		}
	}
	return v
}

// maxSteps is how many files sizeRead adds up for all images of a root together. Images
// may name one another in any number of ways.
const maxSteps = 1 << 22

// sizeRead adds up the files that a manifest leads to and the directories above them.
func (t *rootCheck) sizeRead(name, tag, digest string) (Size, error) {
	paths := t.pathsOf(name, tag, digest)
	key := name
	for _, p := range paths {
		key += "@" + t.entries[p].KeyString()
	}
	if size, known := t.sizes[key]; known { // of another tag
		return size, nil
	}
	size := t.directoriesAbove(name)
	counted := map[string]bool{} // by CID
	seen := map[string]bool{}    // by path
	for todo := paths; len(todo) > 0; {
		p := todo[0]
		todo = todo[1:]
		if t.steps++; t.steps > maxSteps {
			return size, fmt.Errorf("the images name one another more than %d times", maxSteps)
		}
		if seen[p] {
			continue
		}
		seen[p] = true
		todo = append(todo, t.leadsTo(p)...)
		key := t.entries[p].KeyString()
		if counted[key] {
			continue
		}
		counted[key] = true
		if m := t.documents[key]; m != nil {
			size.add(m.read)
		} else if f := t.contents[key]; f != nil {
			size.add(f.read)
		}
	}
	t.sizes[key] = size
	return size, nil
}

// directoriesAbove adds up the directories that lead to the images of a name, and those
// of their parts.
func (t *rootCheck) directoriesAbove(name string) Size {
	var size Size
	for _, dir := range []string{layout.ManifestsDir(name), layout.BlobsDir(name), layout.ReferrersDir(name)} {
		size.add(t.directories[dir])
	}
	for dir := name; ; {
		size.add(t.directories[dir])
		if dir == "" {
			return size
		}
		dir, _ = path.Split(dir)
		dir = strings.TrimSuffix(dir, "/")
	}
}
