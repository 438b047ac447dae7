package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Answers about absent content name what exists instead, if that is found quickly.

const (
	// explainingTakes is how long a client waits for such an explanation.
	explainingTakes = 2 * time.Second

	// maxNamed is how many tags or images an answer names.
	maxNamed = 10
)

// imageUnknown is the answer that there is no image.
var imageUnknown = &protocolError{codeNameUnknown, "there is no image at this address"}

// explain adds the tags of the image to the answer that a tag is absent, or what is
// there if it is no image. Nothing is told about an image that the lists refuse.
func (g *Registry) explain(ctx context.Context, q request, answer error) error {
	unknown, ok := errors.AsType[*protocolError](answer)
	if !ok || unknown.code != codeManifestUnknown || q.Digest != "" {
		return answer
	}
	ctx, cancel := context.WithTimeout(ctx, explainingTakes)
	defer cancel()
	tags, _, err := g.Library.Tags(ctx, q.Query)
	e, failed := errors.AsType[*images.Error](err)
	switch {
	case failed && e.Class == images.Denied:
		return g.refuse(q, e.Err)
	case failed:
		return explained(unknown, ": ", g.whatIsThere(ctx, q))
	case len(tags) > 0:
		return explained(unknown, ", but ", some(tags))
	}
	return answer
}

// explainImage adds what is there to the answer that there is no image.
func (g *Registry) explainImage(ctx context.Context, q request, answer error) error {
	if answer != error(imageUnknown) {
		return answer
	}
	ctx, cancel := context.WithTimeout(ctx, explainingTakes)
	defer cancel()
	return explained(imageUnknown, ": ", g.whatIsThere(ctx, q))
}

func explained(e *protocolError, separator, explanation string) error {
	if explanation == "" {
		return e
	}
	return &protocolError{e.code, e.message + separator + explanation}
}

// whatIsThere describes what an address without an image leads to, or returns nothing if
// that is not known. Clients of plain names have no address that could be wrong.
func (g *Registry) whatIsThere(ctx context.Context, q request) string {
	if q.rooted {
		return ""
	}
	for q := q.Query; ; q.Image.Name = "" {
		entries, err := g.Library.Entries(ctx, q)
		e, failed := errors.AsType[*images.Error](err)
		switch {
		case !failed:
			return describe(q.Image, entries)
		case e.Class != images.Absent && e.Class != images.Lacking:
			return ""
		case q.Image.Name == "" && !g.Library.HasGateways():
			return "the store of this registry has nothing of it, and no gateway is asked"
		case q.Image.Name == "":
			return ""
		}
	}
}

// describe says what can be pulled in place of a file or directory that is no image.
func describe(at layout.Image, entries map[string]cid.Cid) string {
	where := "the address"
	if at.Name != "" {
		where = at.Name
	}
	if entries == nil {
		return where + " is of a file, and images are directories: take the address that the converter printed"
	}
	var below []string
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		switch {
		case layout.IsDigest(name):
			return where + " is of a directory of blobs or manifests, not of the image that it is part of: take the address that the converter printed"
		case layout.CheckName(name) == nil:
			below = append(below, name)
		}
	}
	if len(below) == 0 {
		return ""
	}
	return where + " is of a directory with " + some(below)
}

// some names a few of the words.
func some(words []string) string {
	more := ""
	if n := len(words) - maxNamed; n > 0 {
		words, more = words[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(words, ", ") + more
}
