package converter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Base is a root that images are put onto: the new root holds what it holds,
// and them.
type Base struct {
	From origin.Origin
	Root cid.Cid
}

// read returns what the base holds, without its aliases: whether there are any
// depends on what comes.
func (b *Base) read(ctx context.Context, p Progress) (*Tree, error) {
	t, err := storedTree(ctx, b.From, b.Root, p)
	if err != nil {
		return nil, err
	}
	for _, f := range t.Files {
		if f.Blob != nil {
			f.Blob.ofBase = true
		}
	}
	t.dropAliases()
	return t, nil
}

// dropAliases removes the names that alias gives.
func (t *Tree) dropAliases() {
	dirs := map[string]map[string]cid.Cid{}
	for p, f := range t.Files {
		dir, file := path.Split(p)
		if layout.IsBlobPath(p) {
			continue
		}
		if dirs[dir] == nil {
			dirs[dir] = map[string]cid.Cid{}
		}
		dirs[dir][file] = f.node().CID
	}
	for dir, entries := range dirs {
		for _, alias := range layout.Aliases(entries) {
			delete(t.Files, dir+alias)
			if alias == layout.Latest {
				t.hadLatest = append(t.hadLatest, dir+alias)
			}
		}
	}
	slices.Sort(t.hadLatest)
}

// noteLatest says of which images none goes by the name latest any more: there
// are several now, and which one was tagged so, if any was, a root does not say.
func (t *Tree) noteLatest(base *Tree, logf func(string, ...any)) {
	for _, p := range base.hadLatest {
		if _, there := t.Files[p]; !there {
			name := strings.TrimSuffix(path.Dir(path.Dir(p)), ".")
			logf("%s is no name any more, since there is more than one %s: give one that tag with --tag", ref{name, layout.Latest}, cmp.Or(name, "image"))
		}
	}
}

// putOnto adds what another tree holds. A tag that both have is the new one's,
// and the old manifest stays under its digest.
func (t *Tree) putOnto(base *Tree, ws *workspace) error {
	for _, img := range base.Images {
		t.keep(img, ws.logf)
	}
	for _, p := range slices.Sorted(maps.Keys(base.Files)) {
		old := base.Files[p]
		now, both := t.Files[p]
		switch {
		case !both:
			t.Files[p] = old
		case layout.IsReferrersPath(p):
			merged, err := mergeReferrers(old, now, ws)
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			t.Files[p] = merged
		}
	}
	return nil
}

// keep notes an image of the base, unless a new one takes its tag.
func (t *Tree) keep(old Image, logf func(string, ...any)) {
	for _, img := range t.Images {
		if img.Name != old.Name || img.Tag != old.Tag {
			continue
		}
		if img.Digest == old.Digest {
			return
		}
		if img.Tag != "" {
			logf("%s moves from %s to %s", ref{img.Name, img.Tag}, old.Digest, img.Digest)
			return
		}
	}
	t.Kept = append(t.Kept, old)
}

// mergeReferrers returns the index of all that either index names.
func mergeReferrers(old, now File, ws *workspace) (File, error) {
	descriptors := map[digest.Digest]v1.Descriptor{}
	for _, f := range []File{old, now} {
		data, err := f.read(ws.ctx)
		if err != nil {
			return File{}, err
		}
		var index v1.Index
		if err := json.Unmarshal(data, &index); err != nil {
			return File{}, err
		}
		for _, d := range index.Manifests {
			descriptors[d.Digest] = d
		}
	}
	data, err := referrerIndex(descriptors)
	if err != nil {
		return File{}, err
	}
	return ws.file(data)
}
