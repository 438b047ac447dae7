package caddymodule

import (
	"context"
	"errors"
	"io/fs"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A formCache remembers in which form images are, which never changes.
type formCache = lru.Cache[layout.Image, layout.Form]

// maxForms is how many images' forms are remembered. Some know where each blob is
// that an image has.
const maxForms = 128

func newFormCache() *formCache {
	c, err := lru.New[layout.Image, layout.Form](maxForms)
	if err != nil {
		panic(err) // the size is positive
	}
	return c
}

// form returns the form of an image in a tree.
func (h *Handler) form(ctx context.Context, tree layout.Tree, img layout.Image) (layout.Form, error) {
	if form, known := h.forms.Get(img); known {
		return form, nil
	}
	form, err := layout.Detect(ctx, tree, img)
	if err == nil {
		h.forms.Add(img, form)
	}
	return form, err
}

// fromImage is what read gets from the image of a request, whatever form that has:
// from the first store that has it, or else from the gateways, which prove it.
// That there is no such image, or not what is to be read, is fs.ErrNotExist.
func fromImage[T any](ctx context.Context, h *Handler, q request, read func(layout.Form, layout.Tree) (T, error)) (T, error) {
	in := func(tree layout.Tree) (T, error) {
		form, err := h.form(ctx, tree, q.image)
		if err != nil {
			var none T
			return none, err
		}
		return read(form, tree)
	}
	found, err := fromStores(h, q, func(s *store.Store) (T, error) { return in(stored{s}) })
	if err == nil || h.pool == nil {
		return found, err
	}
	found, err = in(verified{h, q})
	return found, proven(err)
}

// atBlob calls use with where most images have a blob, and, if that finds nothing
// there, with where the form of the image says that it is.
func (h *Handler) atBlob(ctx context.Context, tree layout.Tree, q request, use func(layout.Place) error) error {
	form, known := h.forms.Get(q.image)
	if !known {
		err := use(q.nativeBlob())
		if !mayBeElsewhere(err) {
			return err
		}
		var failed error
		form, failed = h.form(ctx, tree, q.image)
		switch {
		case errors.Is(failed, fs.ErrNotExist), failed == nil && form.IsNative():
			return err
		case failed != nil && asked(err): // so a gateway's word is taken, and none proves more
			return err
		case failed != nil:
			return failed
		}
	}
	at, err := form.Blob(ctx, tree, q.digest)
	if err != nil {
		return err
	}
	return use(at)
}

// locate returns where a blob is, by the form of its image, which is known after
// the manifest was asked for, and else costs a look. Where nobody can tell, most
// images have it in the same place.
func (h *Handler) locate(ctx context.Context, q request) (layout.Place, error) {
	if form, known := h.forms.Get(q.image); known && form.IsNative() {
		return q.nativeBlob(), nil
	}
	at, err := fromImage(ctx, h, q, func(form layout.Form, tree layout.Tree) (layout.Place, error) {
		return form.Blob(ctx, tree, q.digest)
	})
	switch {
	case err == nil:
		return at, nil
	case h.pool != nil && errors.Is(err, fs.ErrNotExist) && !asked(err):
		return layout.Place{}, err
	}
	return q.nativeBlob(), nil
}

// mayBeElsewhere reports whether nothing is in a place, or something that is no
// blob, or not the one.
func mayBeElsewhere(err error) bool {
	if _, answered := errors.AsType[*registryError](err); answered || err == nil {
		return false
	}
	return !asked(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, trustless.ErrMismatch)
}

// nativeBlob is where most images have the blob.
func (q request) nativeBlob() layout.Place {
	return layout.Place{Root: q.image.Root, Path: layout.BlobPath(q.image.Name, q.digest)}
}
