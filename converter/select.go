package converter

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A NoImageError is the error for a source that has no image of the wanted name.
type NoImageError struct {
	Where  string
	Wanted string
	There  []string // names
}

func (e *NoImageError) Error() string {
	if len(e.There) == 0 {
		return fmt.Sprintf("no image in %s is called %q, nor anything else", e.Where, e.Wanted)
	}
	return fmt.Sprintf("no image in %s is called %q: there is %s", e.Where, e.Wanted, alternatives.List(e.There))
}

// An entry is a manifest or index that the index of a source names.
type entry struct {
	v1.Descriptor
	names []writtenName
	refs  []ref

	// wanted is not set for unnamed entries beside the wanted one. They count only
	// if they are its referrers.
	wanted bool

	// signs is the manifest that a signature is about by cosign's conventions.
	signs digest.Digest
}

// entries returns the wanted entries of the index, and unnamed ones that may be their
// referrers.
func (r *reader) entries() ([]entry, error) {
	var entries []entry
	var there, leftOut []string
	found := false
	position := -1
	for _, d := range r.Index.Manifests {
		if !manifest.IsManifest(d) {
			leftOut = append(leftOut, fmt.Sprintf("%s of type %s is no image", d.Digest, d.MediaType))
			continue
		}
		position++
		names := annotatedNames(d)
		wanted := r.want.is(position, d.Digest, names)
		if !wanted && len(names) > 0 {
			there = append(there, names[0])
			continue
		}
		found = found || wanted
		entries = append(entries, entry{Descriptor: d, wanted: wanted, signs: signedBy(d)})
	}
	if !found && r.want.digest() != "" {
		below, err := r.entryBelow(r.want.digest())
		if err != nil {
			return nil, err
		}
		found = below != nil
		entries = append(entries, below...)
	}
	switch {
	case !found && r.want.image != "":
		return nil, &NoImageError{r.Where, r.want.image, there}
	case len(entries) == 0 && len(leftOut) > 0:
		return nil, fmt.Errorf("%s holds no image: %s", r.Where, leftOut[0])
	}
	for _, why := range leftOut {
		r.logf("%s, and is left out", why)
	}
	return entries, r.nameEntries(entries)
}

// entryBelow returns the entry for a manifest that only an index in the source names.
func (r *reader) entryBelow(wanted digest.Digest) ([]entry, error) {
	var found []entry
	for _, d := range r.Index.Manifests {
		if !manifest.IsIndexType(d.MediaType) {
			continue
		}
		err := r.nodes.WalkIndexes(d, func(s manifest.Step) error {
			for _, b := range s.Below {
				if found == nil && b.Digest == wanted && manifest.IsManifest(b.Descriptor) {
					found = []entry{{Descriptor: b.Descriptor, wanted: true}}
				}
			}
			return nil
		})
		if err != nil && !manifest.IsMissing(err) {
			return nil, err
		}
	}
	return found, nil
}

// nameEntries notes what programs have called the entries: the index or, where it has
// no whole name, Docker's list beside it.
func (r *reader) nameEntries(entries []entry) error {
	listed := r.namesByConfig()
	for i := range entries {
		e := &entries[i]
		if name := e.Annotations[ocilayout.ContainerdName]; name != "" {
			e.names = readNames([]string{name})
			continue
		}
		names, err := r.namesInList(e.Descriptor, listed)
		if err != nil {
			return err
		}
		if e.names = readNames(names); len(names) > 0 {
			continue
		}
		if name := e.Annotations[v1.AnnotationRefName]; name != "" {
			e.names = []writtenName{readRefName(name)}
		}
	}
	r.nameCosign(entries)
	return nil
}

// namesByConfig returns the names in Docker's list by the digests of the configs.
func (r *reader) namesByConfig() map[digest.Digest][]string {
	names := map[digest.Digest][]string{}
	for _, listed := range r.DockerList {
		if c, err := r.File(listed.Config); err == nil {
			names[c.Digest] = append(names[c.Digest], listed.RepoTags...)
		}
	}
	return names
}

// namesInList returns the names that Docker's list has for an image.
func (r *reader) namesInList(d v1.Descriptor, listed map[digest.Digest][]string) ([]string, error) {
	if len(listed) == 0 {
		return nil, nil
	}
	n, err := r.nodes.Node(d)
	if err != nil {
		return nil, err
	}
	if n.Config == nil {
		return nil, nil
	}
	config, err := r.blob(*n.Config)
	if manifest.IsMissing(err) {
		return nil, nil // which matters, and is said, when the image is read
	}
	if err != nil {
		return nil, err
	}
	return listed[config.Digest], nil
}

// cosignKinds are the tags' suffixes of what cosign saves beside an image, by the
// annotation that tells the kind.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
var cosignKinds = map[string]string{
	"dev.cosignproject.cosign/sigs":  ".sig",
	"dev.cosignproject.cosign/atts":  ".att",
	"dev.cosignproject.cosign/sboms": ".sbom",
}

// nameCosign gives the signatures in what cosign saved the tags by which cosign looks
// for them. cosign saves one image, and no names.
func (r *reader) nameCosign(entries []entry) {
	image := slices.IndexFunc(entries, func(e entry) bool {
		kind := e.Annotations["kind"]
		return kind == "dev.cosignproject.cosign/image" || kind == "dev.cosignproject.cosign/imageIndex"
	})
	if image < 0 {
		return
	}
	signed := entries[image].Digest
	for i := range entries {
		suffix := cosignKinds[entries[i].Annotations["kind"]]
		if suffix == "" || len(entries[i].names) > 0 {
			continue
		}
		tag := signed.Algorithm().String() + "-" + signed.Encoded() + suffix
		entries[i].signs, entries[i].names = signed, []writtenName{{tag, ref{tag: tag}, nil}}
		entries[i].wanted = entries[image].wanted
	}
}

// refs returns what an image is called, which is nothing where no program named it.
// If only some of its names can be pulled, the others are left out.
func (r *reader) refs(d digest.Digest, names []writtenName) ([]ref, error) {
	if len(names) == 0 {
		return []ref{r.want.as}, nil
	}
	var refs []ref
	var unusable []error
	for _, n := range names {
		if called, err := n.renamed(r.want.as); err != nil {
			unusable = append(unusable, err)
		} else {
			refs = append(refs, called)
		}
	}
	if len(refs) == 0 {
		return nil, unusable[0]
	}
	for _, err := range unusable {
		r.logf("a name of image %s is left out: %v", d, err)
	}
	if r.want.as != (ref{}) {
		refs = refs[:1]
	}
	return refs, nil
}

// resolveNames decides what the entries are called. A signature goes by its own tag
// and by the name of the image beside it.
func (r *reader) resolveNames(entries []entry) ([]entry, error) {
	names := map[digest.Digest]string{} // of the images
	for i := range entries {
		e := &entries[i]
		if e.signs != "" && r.isAmong(entries, e.signs) {
			continue
		}
		e.signs = ""
		var err error
		if !e.wanted {
			e.refs = []ref{{}}
		} else if e.refs, err = r.refs(e.Digest, e.names); err != nil {
			return nil, err
		}
		names[e.Digest] = e.refs[0].name
	}
	for i := range entries {
		e := &entries[i]
		if e.signs == "" {
			continue
		}
		for _, n := range e.names {
			if n.err != nil {
				return nil, &NameError{n.written, n.err}
			}
			n.ref.name = cmp.Or(r.want.as.name, n.ref.name, names[e.signs])
			e.refs = append(e.refs, n.ref)
		}
	}
	return entries, nil
}

func (r *reader) isAmong(entries []entry, d digest.Digest) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return e.Digest == d && e.signs == "" })
}
