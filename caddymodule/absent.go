package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// What is here makes answers about what there is not say what there is, as far
// as that is known soon.

const (
	// explainingTakes is how long a client waits for what the answer does
	// without, too.
	explainingTakes = 2 * time.Second

	// maxNamed is how many tags or images an answer names.
	maxNamed = 10
)

func manifestUnknown(q request) *registryError {
	return &registryError{codeManifestUnknown, "there is no manifest " + q.reference + " at this address"}
}

// explain adds the tags that there are to the answer that one is not there, or
// what is there if it is no image. Of what the lists refuse, nothing is told.
func (h *Handler) explain(ctx context.Context, q request, err error) error {
	answer, ok := errors.AsType[*registryError](err)
	if !ok || answer.code != codeManifestUnknown || q.digest != "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, explainingTakes)
	defer cancel()
	if err := h.admitImage(ctx, q); err != nil {
		if refused, ok := errors.AsType[*registryError](err); ok {
			return refused
		}
		return answer
	}
	tags, err := h.tags(ctx, q)
	switch {
	case err != nil:
		if there := h.whatIsThere(ctx, q); there != "" {
			return &registryError{answer.code, answer.message + ": " + there}
		}
	case len(tags) > 0:
		return &registryError{answer.code, answer.message + ", but " + some(tags)}
	}
	return answer
}

// absent is the answer that there is no image.
func (h *Handler) absent(ctx context.Context, q request) *registryError {
	ctx, cancel := context.WithTimeout(ctx, explainingTakes)
	defer cancel()
	if there := h.whatIsThere(ctx, q); there != "" {
		return &registryError{codeNameUnknown, errNoImage.message + ": " + there}
	}
	return errNoImage
}

// whatIsThere says what an address is of where no image is; nothing if that is not
// known. Below plain names, people have no address that could be wrong.
func (h *Handler) whatIsThere(ctx context.Context, q request) string {
	if q.rooted {
		return ""
	}
	for at := q.image; ; at.Name = "" {
		entries, err := fromTrees(h, q, func(tree layout.Tree) (map[string]cid.Cid, error) {
			return tree.ReadDir(ctx, at.Root, at.Name)
		})
		if err == nil {
			return describe(at, entries)
		}
		if !everywhere(err, fs.ErrNotExist) {
			return ""
		}
		if at.Name == "" {
			return h.whereElse()
		}
	}
}

// whereElse says where something may be that is not here, if that is the answer: in
// a store, unlike at gateways, there is never all of IPFS.
func (h *Handler) whereElse() string {
	if h.pool != nil {
		return ""
	}
	return "the store of this registry has nothing of it, and no gateway is asked"
}

// describe says what can be pulled in place of a file or directory that is no
// image.
func describe(at layout.Image, entries map[string]cid.Cid) string {
	where := "the address"
	if at.Name != "" {
		where = at.Name
	}
	if entries == nil {
		return where + " is of a file, and images are directories: take the address that the converter printed"
	}
	var below, digests []string
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		switch {
		case layout.IsDigest(name):
			digests = append(digests, name)
		case layout.CheckName(name) == nil:
			below = append(below, name)
		}
	}
	switch {
	case len(digests) > 0:
		return where + " is of a directory of blobs or manifests, and not of the image that it is part of: take the address that the converter printed"
	case len(below) > 0:
		return where + " is of a directory with " + some(below)
	}
	return ""
}

// some names a few of the words.
func some(words []string) string {
	more := ""
	if n := len(words) - maxNamed; n > 0 {
		words, more = words[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(words, ", ") + more
}
