package converter

import (
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// attachReferrers moves untagged referrers to their subjects, since clients look for
// them under the subject's name. A referrer whose subject is not in the source stays
// an image of its own.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
func (r *reader) attachReferrers(images []*image) ([]*image, error) {
	bySubject := map[digest.Digest][]*graph{}
	for _, img := range images {
		if img.top.Subject != nil && img.noName {
			subject := img.top.Subject.Digest
			bySubject[subject] = append(bySubject[subject], img.graph)
		}
	}
	attached := map[*graph]bool{}
	budget := maxReferrers
	for _, g := range graphs(images) {
		if err := g.attach(bySubject, attached, &budget); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(images, func(img *image) bool {
		foreign := r.want.platform != nil && img.top.Subject != nil
		return img.noName && (attached[img.graph] || !img.wanted || foreign)
	}), nil
}

// maxReferrers bounds the manifests that are attached to the images of a source: a
// referrer may be attached to each of them.
const maxReferrers = 1 << 18

// attach adds to a graph its referrers and theirs.
func (g *graph) attach(bySubject map[digest.Digest][]*graph, attached map[*graph]bool, budget *int) error {
	todo := slices.Sorted(maps.Keys(g.known))
	for len(todo) > 0 {
		referrers := bySubject[todo[0]]
		todo = todo[1:]
		for _, r := range referrers {
			if r == g || g.known[r.top.Digest] {
				continue
			}
			if *budget -= 1 + len(r.below); *budget < 0 {
				return fmt.Errorf("the images have more than %d referrers", maxReferrers)
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

// graphs returns the graphs of images, each once.
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

// referrerIndexes returns the indexes of the referrers among the manifests of one
// name, by their subjects.
func referrerIndexes(images []*image) (map[digest.Digest][]byte, error) {
	bySubject := map[digest.Digest]manifest.Referrers{}
	for _, img := range images {
		for _, n := range img.manifests() {
			if n.Subject == nil || n.Digest.Algorithm() != digest.SHA256 { // it is there by its sha256, too
				continue
			}
			subject := n.Subject.Digest
			if bySubject[subject] == nil {
				bySubject[subject] = manifest.Referrers{}
			}
			bySubject[subject].Add(n)
		}
	}
	indexes := map[digest.Digest][]byte{}
	for subject, referrers := range bySubject {
		data, err := referrers.Encode()
		if err != nil {
			return nil, err
		}
		indexes[subject] = data
	}
	return indexes, nil
}
