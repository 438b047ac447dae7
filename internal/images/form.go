package images

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// remembered returns the form of the query's image if that is known, and may be used.
func (v view) remembered(ctx context.Context) (layout.Form, bool, error) {
	if v.query.Literal {
		return layout.Literal(v.query.Image), true, nil
	}
	known, ok := v.library.memory.forms.Get(v.query.Image)
	if !ok {
		return layout.Form{}, false, nil
	}
	for _, at := range known.madeOf {
		if _, err := v.check(ctx, at); err != nil {
			return layout.Form{}, false, err
		}
	}
	return known.Form, true, nil
}

// form returns the form of the query's image, which is fs.ErrNotExist where there is
// no image.
func (v view) form(ctx context.Context) (layout.Form, error) {
	if form, known, err := v.remembered(ctx); known || err != nil {
		return form, err
	}
	ctx, giveBack := context.WithCancel(ctx) // the memory of what is read
	defer giveBack()
	tree := &recorder{Tree: v}
	form, err := layout.Detect(ctx, tree, v.query.Image)
	if err == nil {
		v.library.memory.forms.Add(v.query.Image, knownForm{form, tree.read})
	}
	return form, err
}

// A recorder is a tree that notes what was read from it.
type recorder struct {
	layout.Tree

	mu   sync.Mutex
	read []layout.Place
}

// ReadFile implements layout.Tree.
func (r *recorder) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	r.note(layout.Place{Root: root, Path: path})
	return r.Tree.ReadFile(ctx, root, path, limit)
}

// ReadDir implements layout.Tree.
func (r *recorder) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	r.note(layout.Place{Root: root, Path: path})
	return r.Tree.ReadDir(ctx, root, path)
}

func (r *recorder) note(at layout.Place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = append(r.read, at)
}

// atBlob calls use with the native place of the query's blob, and, if the blob is not
// there, with the place that the form of the image says.
func (v view) atBlob(ctx context.Context, use func(layout.Place) error) error {
	form, known, err := v.remembered(ctx)
	if err != nil {
		return err
	}
	if !known {
		err := use(v.query.nativeBlob())
		if !mayBeElsewhere(ctx, err) {
			return err
		}
		var failed error
		form, failed = v.form(ctx)
		switch {
		case errors.Is(failed, layout.ErrLacking):
			return failed // the native location alone does not prove that the blob is absent
		case errors.Is(failed, fs.ErrNotExist), failed == nil && form.IsNative():
			return err
		case failed != nil:
			return failed
		}
	}
	at, err := v.placeIn(ctx, form)
	if err != nil {
		return err
	}
	return use(at)
}

// placeIn returns the place of the query's blob in the form of its image.
func (v view) placeIn(ctx context.Context, form layout.Form) (layout.Place, error) {
	ctx, giveBack := context.WithCancel(ctx) // the memory of what is read, before the blob is sent
	defer giveBack()
	return form.Blob(ctx, v, v.query.Digest)
}

// mayBeElsewhere reports whether nothing is in a place, or something that is not the
// blob.
func mayBeElsewhere(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	switch classify(ctx, err).Class {
	case Absent, Lacking, False:
		return true
	}
	return false
}
