package images

import (
	"context"
	"path"
	"slices"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Tags returns the tags of the query's image, sorted and without aliases. Tags that
// the lists refuse are left out.
func (l *Library) Tags(ctx context.Context, q Query) ([]string, Origin, error) {
	if err := l.Admit(q, q.Image.Name); err != nil {
		return nil, "", err
	}
	ctx, giveBack := context.WithCancel(ctx) // the memory of what is read, before the list is sent
	defer giveBack()
	ctx, end := budget.WithTurns(ctx)
	defer end()
	return find(ctx, l, q, func(v view) ([]string, error) {
		form, err := v.form(ctx)
		if err != nil {
			return nil, err
		}
		if err := v.checkImage(ctx); err != nil {
			return nil, err
		}
		tags, err := form.Tags(ctx, v)
		if err != nil {
			return nil, err
		}
		return v.admitted(ctx, form, tags)
	})
}

// admitted returns the tags whose manifests the lists admit. It fails if the lists cannot
// see a manifest: its tag may be one that they refuse.
func (v view) admitted(ctx context.Context, form layout.Form, tags []string) ([]string, error) {
	if v.lists == nil || !form.IsNative() {
		return tags, nil
	}
	admitted := tags[:0]
	for _, tag := range tags {
		_, err := v.check(ctx, layout.Place{Root: v.query.Image.Root, Path: layout.ManifestPath(v.query.Image.Name, tag)})
		if err == nil {
			admitted = append(admitted, tag)
			continue
		}
		switch classify(ctx, err).Class {
		case Denied:
		case Absent, Lacking, False, Broken: // its publisher's fault
			admitted = append(admitted, tag)
		default:
			return nil, err
		}
	}
	return admitted, nil
}

// Referrers returns the descriptors of the manifests whose subject is the query's
// digest.
func (l *Library) Referrers(ctx context.Context, q Query) ([]v1.Descriptor, Origin, error) {
	if err := l.Admit(q, layout.ReferrersPath(q.Image.Name, q.Digest), q.Image.Name); err != nil {
		return nil, "", err
	}
	ctx, giveBack := context.WithCancel(ctx) // the memory of what is read, before the list is sent
	defer giveBack()
	ctx, end := budget.WithTurns(ctx)
	defer end()
	return find(ctx, l, q, func(v view) ([]v1.Descriptor, error) {
		form, err := v.form(ctx)
		if err != nil {
			return nil, err
		}
		if err := v.checkImage(ctx); err != nil {
			return nil, err
		}
		return form.Referrers(ctx, v, q.Digest)
	})
}

// Names returns the names of the images below the directory of a query, without what the
// lists refuse. An image that is the directory itself has no name.
func (l *Library) Names(ctx context.Context, q Query) ([]string, error) {
	ctx, end := budget.WithTurns(ctx)
	defer end()
	dir := q.Image
	all, _, err := find(ctx, l, q, func(v view) ([]string, error) {
		top, err := v.Source.Trail(ctx, dir.Root, dir.Name)
		if err != nil {
			return nil, err
		}
		top = append([]cid.Cid{dir.Root}, top...)
		return layout.AllNames(ctx, func(ctx context.Context, dir cid.Cid) (map[string]cid.Cid, error) {
			return v.Source.ReadDir(ctx, dir, "") // what the lists refuse is left out below
		}, top[len(top)-1])
	})
	return slices.DeleteFunc(all, func(name string) bool {
		below := q
		below.Image.Name = path.Join(dir.Name, name)
		return name == "" || !l.admits(ctx, below)
	}), err
}

// Kept returns the repositories of the images that were converted into the stores,
// without what the lists refuse. Records that cannot be read are logged.
func (l *Library) Kept(ctx context.Context) []string {
	var all []string
	for _, s := range l.config.Stores {
		records, err := s.Images(ctx)
		if err != nil && ctx.Err() == nil {
			l.config.Logger.Error("store failed", zap.String("store", s.Dir()), zap.Error(err))
		}
		for _, record := range records {
			root, err := cidname.ParseAny(record.Root)
			if err != nil {
				continue // no record of a store has such a root
			}
			for _, image := range record.Images {
				if l.admits(ctx, Query{Image: layout.Image{Root: root, Name: image.Name}}) {
					all = append(all, path.Join(record.Root, image.Name))
				}
			}
		}
	}
	return all
}

// Entries returns the names in the directory of the query's image, without what the
// lists refuse, or nil where there is a file.
func (l *Library) Entries(ctx context.Context, q Query) (map[string]cid.Cid, error) {
	ctx, end := budget.WithTurns(ctx)
	defer end()
	entries, _, err := find(ctx, l, q, func(v view) (map[string]cid.Cid, error) {
		return v.ReadDir(ctx, q.Image.Root, q.Image.Name)
	})
	for name, c := range entries {
		if q.checkLists(l.config.Lists, path.Join(q.Image.Name, name), c) != nil {
			delete(entries, name)
		}
	}
	return entries, err
}
