package converter

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// choosePlatform keeps the entries that fit the wanted platform, and puts the fitting
// image in the place of an index. Artifacts fit every platform. It fails only if no
// image fits.
func (r *reader) choosePlatform(entries []entry) ([]entry, error) {
	if r.want.platform == nil {
		return entries, nil
	}
	var fitting []entry
	var unfit []error
	images := 0
	for _, e := range entries {
		if !e.wanted || e.signs != "" {
			fitting = append(fitting, e)
			continue
		}
		chosen, isImage, err := r.choose(e.Descriptor)
		if _, is := err.(*platform.Error); is { // as choose returns it
			unfit = append(unfit, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if isImage {
			images++
		}
		e.Descriptor = chosen
		fitting = append(fitting, e)
	}
	if len(unfit) > 0 && images == 0 {
		return nil, noneFits(r.Where, *r.want.platform, unfit)
	}
	r.noteUnfit(unfit)
	return r.dropUnsigned(fitting, entries), nil
}

// noteUnfit reports the images that do not fit the wanted platform.
func (r *reader) noteUnfit(unfit []error) {
	for _, err := range unfit {
		r.logf("an image is left out, since another one fits: %v", err)
	}
}

// noneFits returns the error for several images of which none fits.
func noneFits(where string, wanted platform.Platform, unfit []error) error {
	if len(unfit) == 1 {
		return unfit[0]
	}
	all := &platform.Error{Where: where, Wanted: wanted}
	for _, err := range unfit {
		if e, is := err.(*platform.Error); is { // as choose returns it
			if e.Ambiguous {
				return e
			}
			all.There = append(all.There, e.There...)
		}
	}
	return all
}

// choose returns the image of an entry for the wanted platform. An entry that is not
// an index has to fit.
func (r *reader) choose(d v1.Descriptor) (chosen v1.Descriptor, isImage bool, err error) {
	n, err := r.nodes.Node(d)
	if err != nil {
		return d, false, err
	}
	if n.Subject != nil {
		return d, false, nil // a referrer goes where its subject goes
	}
	if !n.IsIndex() {
		p, isImage, err := r.configPlatform(n)
		if err == nil && isImage && !p.Serves(*r.want.platform) {
			err = &platform.Error{Where: r.Where, Wanted: *r.want.platform, There: []platform.Platform{p}}
		}
		return d, isImage, err
	}
	found, err := platform.Select(r.nodes, d, *r.want.platform, r.configPlatform)
	if err != nil {
		return d, false, err
	}
	r.notePlatform(found)
	r.fixed[found.Digest] = true
	return v1.Descriptor{MediaType: found.MediaType, Digest: found.Digest, Size: found.Size, Annotations: d.Annotations}, true, nil
}

// notePlatform reports a config that contradicts the index by which it was chosen.
func (r *reader) notePlatform(chosen v1.Descriptor) {
	n, err := r.nodes.Node(chosen)
	if err != nil {
		return
	}
	if p, isImage, err := r.configPlatform(n); err == nil && isImage && p.OS != "" && !p.Serves(platform.Platform{OS: r.want.platform.OS, Architecture: r.want.platform.Architecture}) {
		r.logf("the index says that image %s is for %s, and its config says %s", chosen.Digest, r.want.platform, p)
	}
}

// configPlatform returns the platform that the config of an image says. It returns
// false for an artifact.
func (r *reader) configPlatform(n *manifest.Node) (platform.Platform, bool, error) {
	c, err := r.config(n)
	if c == nil || err != nil {
		return platform.Platform{}, false, err
	}
	return platform.From(c.Platform), true, nil
}

// dropUnsigned drops the signatures of entries that are gone.
func (r *reader) dropUnsigned(entries, before []entry) []entry {
	return slices.DeleteFunc(entries, func(e entry) bool {
		gone := e.signs != "" && r.isAmong(before, e.signs) && !r.isAmong(entries, e.signs)
		if gone {
			r.logf("%s is left out: it is about %s, which is not for %s alone", e.Digest, e.signs, r.want.platform)
		}
		return gone
	})
}

// mergePlatforms makes an index of the images that go by the same names and are for
// different platforms. Some programs list these side by side.
func (r *reader) mergePlatforms(entries []entry) ([]entry, error) {
	groups := map[string][]int{}
	for i, e := range entries {
		n, err := r.nodes.Node(e.Descriptor)
		isReferrer := err == nil && n.Subject != nil
		if e.wanted && e.signs == "" && !isReferrer && e.refs[0] != (ref{}) {
			key := writtenKey(e)
			groups[key] = append(groups[key], i)
		}
	}
	gone := map[int]bool{}
	for _, of := range groups {
		merged, err := r.merge(entries, of)
		if err != nil {
			return nil, err
		}
		if merged == nil {
			continue
		}
		entries[of[0]].Descriptor = *merged
		for _, i := range of[1:] {
			gone[i] = true
		}
	}
	var kept []entry
	for i, e := range entries {
		if !gone[i] {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

// writtenKey tells entries apart by their names.
func writtenKey(e entry) string {
	var b strings.Builder
	for _, n := range e.names {
		fmt.Fprintf(&b, "%q", n.written)
	}
	for _, called := range e.refs {
		fmt.Fprintf(&b, "%q", called)
	}
	return b.String()
}

// merge writes an index of entries, if they are images for different platforms.
func (r *reader) merge(entries []entry, of []int) (*v1.Descriptor, error) {
	all := map[string]indexEntry{}
	seen := map[digest.Digest]bool{}
	for _, i := range of {
		d := entries[i].Descriptor
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		n, err := r.nodes.Node(d)
		if manifest.IsMissing(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		p, isImage, err := r.configPlatform(n)
		if manifest.IsMissing(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if said, ok := platform.Of(d); ok {
			p = said
		}
		if _, taken := all[p.String()]; taken || !isImage {
			return nil, nil
		}
		all[p.String()] = indexEntry{
			descriptor: descriptor{n.MediaType, int64(len(n.Data)), n.Digest},
			Platform:   indexPlatform{p.Architecture, p.OS, p.OSVersion, p.Variant},
		}
	}
	if len(all) < 2 {
		return nil, nil
	}
	index := platformIndex{2, v1.MediaTypeImageIndex, nil}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		index.Manifests = append(index.Manifests, all[p])
	}
	data, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	d, err := r.write(v1.MediaTypeImageIndex, data)
	return &d, err
}

// platformIndex is an index with its keys in the order of OCI's specification. Order
// and fields are part of format 1.
type platformIndex struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []indexEntry `json:"manifests"`
}

type indexEntry struct {
	descriptor
	Platform indexPlatform `json:"platform"`
}

type indexPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	OSVersion    string `json:"os.version,omitempty"`
	Variant      string `json:"variant,omitempty"`
}
