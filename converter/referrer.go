package converter

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

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
func attachReferrers(images []*image) ([]*image, error) {
	for {
		i, err := findReferrer(images)
		if err != nil || i < 0 {
			return images, err
		}
		images = slices.Delete(images, i, i+1)
	}
}

// findReferrer attaches one referrer and returns which image it was, or -1.
func findReferrer(images []*image) (int, error) {
	for i, img := range images {
		if img.ref != (ref{}) {
			continue
		}
		r, ok, err := referrerOf(img.top)
		if err != nil {
			return 0, err
		}
		if ok && attach(images, img, r.subject) {
			return i, nil
		}
	}
	return -1, nil
}

func attach(images []*image, img *image, subject digest.Digest) bool {
	attached := false
	for _, of := range images {
		if of != img && of.has(subject) {
			of.below = append(append(of.below, img.top), img.below...)
			of.blobs = append(of.blobs, img.blobs...)
			attached = true
		}
	}
	return attached
}

func (img *image) has(d digest.Digest) bool {
	return slices.ContainsFunc(img.manifests(), func(m layout.Manifest) bool { return m.Digest == d })
}

// manifests returns the image's manifest or index and those below it.
func (img *image) manifests() []layout.Manifest {
	return append([]layout.Manifest{img.top}, img.below...)
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
			if !ok {
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
		data, err := referrerIndex(descriptors)
		if err != nil {
			return nil, err
		}
		indexes[subject] = data
	}
	return indexes, nil
}

func referrerIndex(descriptors map[digest.Digest]v1.Descriptor) ([]byte, error) {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: inOrder(descriptors)}
	index.SchemaVersion = 2
	return json.Marshal(index)
}
