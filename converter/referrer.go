package converter

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A referrer is a manifest that says which other manifest it is about: its
// subject. Signatures and bills of materials are such.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
type referrer struct {
	subject    digest.Digest
	descriptor v1.Descriptor
}

// referrerOf reads what a manifest refers to, if it does.
func referrerOf(m layout.Manifest) (r referrer, ok bool, err error) {
	var fields struct {
		ArtifactType string            `json:"artifactType"`
		Config       v1.Descriptor     `json:"config"`
		Subject      *v1.Descriptor    `json:"subject"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(m.Data, &fields); err != nil {
		return referrer{}, false, fmt.Errorf("reading manifest %s: %w", m.Digest, err)
	}
	if fields.Subject == nil {
		return referrer{}, false, nil
	}
	if _, err := layout.ParseDigest(fields.Subject.Digest.String()); err != nil {
		return referrer{}, false, fmt.Errorf("subject of manifest %s: %w", m.Digest, err)
	}
	return referrer{fields.Subject.Digest, v1.Descriptor{
		MediaType:    m.MediaType,
		Digest:       m.Digest,
		Size:         int64(len(m.Data)),
		ArtifactType: cmp.Or(fields.ArtifactType, fields.Config.MediaType),
		Annotations:  fields.Annotations,
	}}, true, nil
}

// attachReferrers moves untagged images that are about another one to that one,
// since they are looked for under its name. What is about nothing in the archive
// stays an image of its own.
func (a *archive) attachReferrers(images []*image) ([]*image, error) {
	about := map[digest.Digest][]*graph{} // referrers, by subject
	refers := map[*graph]bool{}
	for _, img := range images {
		r, ok, err := referrerOf(img.top)
		if err != nil {
			return nil, err
		}
		if ok && img.ref == (ref{}) {
			about[r.subject] = append(about[r.subject], img.graph)
			refers[img.graph] = true
		}
	}
	attached := map[*graph]bool{}
	for _, g := range graphs(images) {
		if err := a.attach(g, about, attached); err != nil {
			return nil, err
		}
	}
	var others []*image
	for _, img := range images {
		unnamed := img.ref == (ref{})
		unwanted := a.published || a.want.name != "" || a.want.platform != nil && refers[img.graph]
		if unnamed && (attached[img.graph] || unwanted) {
			continue
		}
		others = append(others, img)
	}
	return others, nil
}

// attach adds to an image what is about it, and what is about that.
func (a *archive) attach(g *graph, about map[digest.Digest][]*graph, attached map[*graph]bool) error {
	todo := slices.Collect(maps.Keys(g.known))
	slices.Sort(todo)
	for len(todo) > 0 {
		referrers := about[todo[0]]
		todo = todo[1:]
		for _, r := range referrers {
			if r == g || g.has(r.top.Digest) {
				continue
			}
			if err := a.count(1 + len(r.below)); err != nil {
				return err
			}
			attached[r] = true
			g.below = append(append(g.below, r.top), r.below...)
			maps.Copy(g.known, r.known)
			maps.Copy(g.blobs, r.blobs)
			todo = append(todo, slices.Sorted(maps.Keys(r.known))...)
		}
	}
	return nil
}

// graphs returns what the images lead to, each once.
func graphs(images []*image) []*graph {
	var all []*graph
	seen := map[*graph]bool{}
	for _, img := range images {
		if !seen[img.graph] {
			seen[img.graph] = true
			all = append(all, img.graph)
		}
	}
	return all
}

// referrerIndexes returns the indexes of the referrers among the manifests of
// one name, by their subject.
func referrerIndexes(images []*image) (map[digest.Digest][]byte, error) {
	bySubject := map[digest.Digest]map[digest.Digest]v1.Descriptor{}
	for _, img := range images {
		for _, m := range img.manifests() {
			r, ok, err := referrerOf(m)
			if err != nil {
				return nil, err
			}
			if !ok || m.Digest.Algorithm() != digest.SHA256 { // it is there by its sha256, too
				continue
			}
			if bySubject[r.subject] == nil {
				bySubject[r.subject] = map[digest.Digest]v1.Descriptor{}
			}
			bySubject[r.subject][m.Digest] = r.descriptor
		}
	}
	indexes := map[digest.Digest][]byte{}
	for subject, descriptors := range bySubject {
		data, err := tree.ReferrerIndex(descriptors)
		if err != nil {
			return nil, err
		}
		indexes[subject] = data
	}
	return indexes, nil
}
