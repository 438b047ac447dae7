package verify

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// ErrImage2ipfs says that image2ipfs 0.1.0 wrote an image: its layers are
// compressed, and go by the digests that they have uncompressed.
var ErrImage2ipfs = errors.New("image2ipfs 0.1.0 wrote it, with the digests of tars for its compressed layers, and no client can pull it")

// A checkedManifest is a manifest or index and what it names.
type checkedManifest struct {
	layout.Manifest
	manifest.Links
	cid cid.Cid
}

// manifest reads a manifest, or an index of referrers.
func (t *treeCheck) manifest(p string, c cid.Cid) {
	doc := t.document(p, c)
	if doc == nil {
		return
	}
	m := &checkedManifest{cid: c}
	var err error
	if m.Manifest, err = layout.ParseManifest(doc.data); err == nil {
		m.Links, err = manifest.ParseLinks(doc.data)
	}
	if err != nil {
		t.fault(p, c, err)
		return
	}
	t.manifests[p] = m
	_, part, file := layout.Split(p)
	if part != layout.Document || !layout.IsDigest(file) {
		return
	}
	d, err := layout.ParseDigest(file)
	switch {
	case err != nil:
		t.fault(p, c, fmt.Errorf("no manifest is called so: %w", err))
	case d.Algorithm().FromBytes(doc.data) != d:
		t.fault(p, c, wrongDigest(d.Algorithm().FromBytes(doc.data)))
	}
}

func wrongDigest(got digest.Digest) error { return fmt.Errorf("%w: that is %s", layout.ErrDigest, got) }

// leadsTo returns the paths of what belongs to the manifest at a path.
func (t *treeCheck) leadsTo(p string) []string {
	m := t.manifests[p]
	if m == nil {
		return nil
	}
	name, part, _ := layout.Split(p)
	var paths []string
	if part == layout.Document {
		paths = append(paths, layout.ManifestPath(name, m.Digest.String()), layout.ReferrersPath(name, m.Digest))
	}
	for _, d := range m.Manifests {
		paths = append(paths, layout.ManifestPath(name, d.Digest.String()))
	}
	for _, d := range m.Parts() {
		paths = append(paths, layout.BlobPath(name, d.Digest))
	}
	return paths
}

// blob returns the file of a config or layer, if it is there and whole.
func (t *treeCheck) blob(name string, d digest.Digest) *storedFile {
	return t.contents[t.entries[layout.BlobPath(name, d)].KeyString()]
}

// readConfigs reads the configs of images, and then says which digests their
// layers are to have uncompressed.
func (t *treeCheck) readConfigs() {
	configs := map[string]*storedFile{}
	for p, m := range t.manifests {
		name, _, _ := layout.Split(p)
		if !m.IsImage() {
			continue
		}
		f := t.blob(name, m.Config.Digest)
		if f != nil && f.Table.Size() <= layout.MaxManifest {
			f.config = true
			configs[f.CID.KeyString()] = f
		}
	}
	t.readBlobs(slices.Collect(maps.Values(configs)))
	for p, m := range t.manifests {
		name, _, _ := layout.Split(p)
		want, err := t.diffIDs(name, m)
		if err != nil || len(want) != len(m.Layers) {
			continue // compare says so
		}
		for i, d := range m.Layers {
			if f := t.blob(name, d.Digest); f != nil {
				f.inside[want[i].Algorithm()] = true
			}
		}
	}
}

var errUnread = errors.New("its config could not be read")

// diffIDs returns what the layers of an image are to be uncompressed.
func (t *treeCheck) diffIDs(name string, m *checkedManifest) ([]digest.Digest, error) {
	if !m.IsImage() {
		return nil, errUnread
	}
	f := t.blob(name, m.Config.Digest)
	if f == nil || f.blobReport == nil || f.err != nil || !f.config {
		return nil, errUnread
	}
	return manifest.DiffIDs(f.data)
}

// readContents reads all files that were not read yet.
func (t *treeCheck) readContents() {
	t.readConfigs()
	var files []*storedFile
	for _, f := range t.contents {
		if f != nil && f.blobReport == nil {
			files = append(files, f)
		}
	}
	t.readBlobs(files)
}

// compare holds everything against everything else.
func (t *treeCheck) compare() {
	for _, key := range slices.Sorted(maps.Keys(t.contents)) {
		if f := t.contents[key]; f != nil && f.blobReport != nil && f.err == nil {
			t.compareDigests(f)
		}
	}
	compared := map[string]bool{}
	for _, p := range slices.Sorted(maps.Keys(t.manifests)) {
		name, part, file := layout.Split(p)
		m := t.manifests[p]
		if part == layout.About {
			t.compareReferrers(p, name, m)
			continue
		}
		if !layout.IsDigest(file) && t.keepsDigests(name) && !t.entries[layout.ManifestPath(name, m.Digest.String())].Defined() {
			t.fault(p, m.cid, fmt.Errorf("it is not there by its digest, %s", m.Digest))
		}
		if key := name + "@" + m.Digest.String(); !compared[key] {
			compared[key] = true
			t.compareManifest(p, name, m)
		}
	}
}

// keepsDigests reports whether the manifests of a name are there by digest.
// Those of other programs may not be.
func (t *treeCheck) keepsDigests(name string) bool {
	for p := range t.entries {
		if of, part, file := layout.Split(p); part == layout.Document && of == name && layout.IsDigest(file) {
			return true
		}
	}
	return false
}

// compareDigests holds a blob against its names.
func (t *treeCheck) compareDigests(f *storedFile) {
	for _, p := range f.paths {
		_, part, file := layout.Split(p)
		d, err := layout.ParseDigest(file)
		if part != layout.Content || err != nil || f.digest[d.Algorithm()] == d {
			continue
		}
		if f.encoding == blob.Gzipped && f.diffID[d.Algorithm()] == d {
			t.byDiffID[p] = true // which is for its manifest to say
			continue
		}
		t.fault(p, f.CID, wrongDigest(f.digest[d.Algorithm()]))
	}
}

func (t *treeCheck) compareManifest(p, name string, m *checkedManifest) {
	t.compareIndex(p, name, m)
	old := false
	for _, d := range m.Parts() {
		at := layout.BlobPath(name, d.Digest)
		c := t.entries[at]
		old = old || t.byDiffID[at]
		if !c.Defined() {
			if !manifest.IsForeign(d.MediaType) {
				t.fault(at, cid.Undef, fmt.Errorf("it is missing: manifest %s names it", m.Digest))
			}
			continue
		}
		if f := t.contents[c.KeyString()]; f != nil && f.Table.Size() != d.Size {
			t.fault(at, c, fmt.Errorf("it has %d bytes, and manifest %s says %d", f.Table.Size(), m.Digest, d.Size))
		}
	}
	if old {
		t.fault(p, m.cid, ErrImage2ipfs)
	}
	t.compareLayers(name, m)
}

// compareIndex holds an index against the manifests that it names. It may name
// some that nobody had.
func (t *treeCheck) compareIndex(p, name string, m *checkedManifest) {
	if !manifest.IsIndex(m.Manifest) {
		return
	}
	there := 0
	for _, d := range m.Manifests {
		at := layout.ManifestPath(name, d.Digest.String())
		if !t.entries[at].Defined() {
			t.logf("%s (%s) is not there, and may be left out: %s names it", platform.Describe(d), d.Digest, m.Digest)
			continue
		}
		there++
		t.compareSize(at, d, m)
	}
	if there == 0 && len(m.Manifests) > 0 {
		t.fault(p, m.cid, errors.New("nothing that it names is there"))
	}
}

func (t *treeCheck) compareSize(at string, d v1.Descriptor, named *checkedManifest) {
	if m := t.manifests[at]; m != nil && int64(len(m.Data)) != d.Size {
		t.fault(at, m.cid, fmt.Errorf("it has %d bytes, and index %s says %d", len(m.Data), named.Digest, d.Size))
	}
}

// compareLayers holds what is in layers against what the config says of them.
func (t *treeCheck) compareLayers(name string, m *checkedManifest) {
	want, err := t.diffIDs(name, m)
	if errors.Is(err, errUnread) {
		return
	}
	at := layout.BlobPath(name, m.Config.Digest)
	switch {
	case err != nil:
		t.fault(at, t.entries[at], err)
		return
	case len(want) != len(m.Layers):
		t.fault(at, t.entries[at], fmt.Errorf("it has %d layers, and manifest %s %d", len(want), m.Digest, len(m.Layers)))
		return
	}
	for i, d := range m.Layers {
		f := t.blob(name, d.Digest)
		if f == nil || f.blobReport == nil || f.err != nil {
			continue
		}
		at := layout.BlobPath(name, d.Digest)
		switch got := f.diffID[want[i].Algorithm()]; {
		case f.broken != nil:
			t.fault(at, f.CID, f.broken)
		case got != want[i]:
			t.fault(at, f.CID, fmt.Errorf("it is %s uncompressed, and config %s says %s", got, m.Config.Digest, want[i]))
		}
	}
}

// compareReferrers holds an index of referrers against them.
func (t *treeCheck) compareReferrers(p, name string, index *checkedManifest) {
	_, _, subject := layout.Split(p)
	for _, d := range index.Manifests {
		at := layout.ManifestPath(name, d.Digest.String())
		m := t.manifests[at]
		switch {
		case !t.entries[at].Defined():
			t.fault(at, cid.Undef, fmt.Errorf("it is missing: %s names it", p))
		case m != nil && (m.Subject == nil || m.Subject.Digest.String() != subject):
			t.fault(p, index.cid, fmt.Errorf("it names %s, which is about something else", d.Digest))
		default:
			t.compareSize(at, d, index)
		}
	}
}
