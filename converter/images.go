package converter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// images returns the wanted images of the source, read and checked as a whole.
//
// An index names manifests, bytes and all, and Docker's list only the configs and
// layers to make them of, so the index is preferred. Both name the same images where
// one program wrote both. Where the index does not fit its own archive, the list
// counts, as it does for Docker.
func (r *reader) images() ([]*image, error) {
	if r.Index == nil {
		return r.finish(r.listedImages())
	}
	images, err := r.finish(r.indexedImages())
	if err == nil || len(r.DockerList) == 0 || !isMisfit(err) {
		return images, err
	}
	listed, other := r.finish(r.listedImages())
	if other != nil {
		return nil, err
	}
	r.logf("%s does not fit %s, so %s is used: %v", ocilayout.Index, r.Where, ocilayout.DockerList, err)
	return listed, nil
}

// isMisfit reports whether an error may be the fault of the index.
func isMisfit(err error) bool {
	var (
		name    *NameError
		none    *NoImageError
		several *SeveralImagesError
		wrong   *platform.Error
		file    *fs.PathError
	)
	return !errors.As(err, &name) && !errors.As(err, &none) && !errors.As(err, &several) && !errors.As(err, &wrong) &&
		!errors.As(err, &file) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// indexedImages returns the images that the index of the source names.
func (r *reader) indexedImages() ([]*image, error) {
	entries, err := r.entries()
	if err != nil {
		return nil, err
	}
	for _, step := range []func([]entry) ([]entry, error){
		r.choosePlatform, r.resolveNames, r.mergePlatforms, r.addReferrers, r.noteFixed, r.recompress,
	} {
		if entries, err = step(entries); err != nil {
			return nil, err
		}
	}
	var images []*image
	made := map[digest.Digest]*graph{}
	for _, e := range entries {
		g := made[e.Digest]
		if g == nil {
			if g, err = r.load(e.Descriptor); err != nil {
				return nil, err
			}
			made[e.Digest] = g
		}
		for _, called := range e.refs {
			images = append(images, &image{ref: called, graph: g, wanted: e.wanted, noName: len(e.names) == 0, signs: e.signs})
		}
	}
	return images, nil
}

// finish attaches referrers and checks that each name means one image.
func (r *reader) finish(images []*image, err error) ([]*image, error) {
	if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("%s holds no image", r.Where)
	}
	if images, err = r.attachReferrers(images); err != nil {
		return nil, err
	}
	if r.want.as != (ref{}) {
		return r.one(images)
	}
	return distinct(images)
}

// addReferrers adds the referrers that the source lists elsewhere.
func (r *reader) addReferrers(entries []entry) ([]entry, error) {
	for _, e := range slices.Clone(entries) {
		referrers, err := r.Referrers(e.Digest, r.logf)
		if err != nil {
			return nil, err
		}
		for _, d := range referrers {
			entries = append(entries, entry{Descriptor: d, refs: []ref{{}}})
		}
	}
	return entries, nil
}

// noteFixed notes which manifests others name by digest.
func (r *reader) noteFixed(entries []entry) ([]entry, error) {
	walked := map[digest.Digest]bool{}
	for _, e := range entries {
		if walked[e.Digest] {
			continue
		}
		walked[e.Digest] = true
		err := r.nodes.Walk(e.Descriptor, func(s manifest.Step) error {
			if s.Subject != nil {
				r.fixed[s.Subject.Digest] = true
			}
			for _, b := range s.Below {
				r.fixed[b.Digest] = true
			}
			return nil
		})
		if err != nil && !manifest.IsMissing(err) { // whether that matters is seen later
			return nil, err
		}
	}
	return entries, nil
}

// A SeveralImagesError is the error for a source with several images where
// Options.Name or Options.Tag is to name one.
type SeveralImagesError struct{ Where string }

func (e *SeveralImagesError) Error() string {
	return e.Where + " holds several images, and a new name or tag is for one"
}

// one returns the one image that has a new name, once, and the signatures beside it.
func (r *reader) one(images []*image) ([]*image, error) {
	var named *image
	var kept []*image
	for _, img := range images {
		switch {
		case img.signs != "":
			kept = append(kept, img)
		case named == nil:
			named = img
			kept = append(kept, img)
		case named.top.Digest != img.top.Digest:
			return nil, &SeveralImagesError{r.Where}
		}
	}
	return distinct(kept)
}

// A ClashError is the error for a name that means two different images.
type ClashError struct {
	Name          string
	First, Second digest.Digest
}

func (e *ClashError) Error() string {
	return fmt.Sprintf("%s names two different images, %s and %s", e.Name, e.First, e.Second)
}

// distinct drops images that are named twice, and refuses names that mean two images.
func distinct(images []*image) ([]*image, error) {
	seen := map[ref]*image{}
	untagged := map[digest.Digest]bool{}
	kept := images[:0]
	for _, img := range images {
		if img.tag == "" {
			if !untagged[img.top.Digest] {
				kept = append(kept, img)
			}
			untagged[img.top.Digest] = true
			continue
		}
		first := seen[img.ref]
		if first == nil {
			seen[img.ref] = img
			kept = append(kept, img)
			continue
		}
		if first.top.Digest != img.top.Digest {
			return nil, &ClashError{img.ref.String(), first.top.Digest, img.top.Digest}
		}
	}
	return kept, nil
}
