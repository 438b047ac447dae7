package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Answers about absent content say what exists instead, if that is found quickly.
const (
	// explainingTakes is how long a client waits for such an explanation.
	explainingTakes = 2 * time.Second

	// maxNamed is how many tags or directories an answer names.
	maxNamed = 10

	// maxDescent is how many directories below an address are read to find an image.
	maxDescent = 4
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
	tags, _, err := g.tags(ctx, q)
	e, failed := errors.AsType[*images.Error](err)
	switch {
	case failed && e.Class == images.Denied:
		return g.refuse(q, e.Err)
	case failed:
		return explained(unknown, ": ", g.whatIsThere(ctx, q))
	case len(tags) > 0:
		return explained(unknown, "; its tags are ", some(tags))
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
// that is not known. Clients of plain names have no address that could be wrong. What the
// lists refuse by a name has other paths below the root, so it could be named by mistake.
func (g *Registry) whatIsThere(ctx context.Context, q request) string {
	if q.rooted || q.isNamed() && g.Library.HasLists() {
		return ""
	}
	for q := q.Query; ; q.Image.Name = "" {
		entries, err := g.Library.Entries(ctx, q)
		e, failed := errors.AsType[*images.Error](err)
		switch {
		case !failed:
			return g.describe(ctx, q, entries)
		case e.Class != images.Absent && e.Class != images.Lacking:
			return ""
		case q.Image.Name == "" && !g.Library.HasGateways():
			return "the store of this registry has nothing of it, and no gateway is asked"
		case q.Image.Name == "":
			return ""
		}
	}
}

// describe says what to pull in place of a file or directory that is not an image.
func (g *Registry) describe(ctx context.Context, q images.Query, entries map[string]cid.Cid) string {
	where := "the address"
	if q.Image.Name != "" {
		where = q.Image.Name
	}
	if entries == nil {
		return where + " is a file, and an image is a directory: use the address that the converter printed"
	}
	for name := range entries {
		if layout.IsDigest(name) {
			return where + " is a directory of blobs or manifests, which is only a part of an image: use the address that the converter printed"
		}
	}
	below := namesIn(entries)
	if len(below) == 0 {
		return ""
	}
	answer := where + " is a directory with " + some(below)
	if name := g.imageBelow(ctx, q, below[0]); name != "" {
		answer += "; name an image below it, such as " + name
	}
	return answer
}

// imageBelow returns the name below the root of an image in a directory of the query's
// image, or nothing if it finds none in the first directories.
func (g *Registry) imageBelow(ctx context.Context, q images.Query, directory string) string {
	for range maxDescent {
		q.Image.Name = path.Join(q.Image.Name, directory)
		entries, err := g.Library.Entries(ctx, q)
		below := namesIn(entries)
		switch {
		case err != nil:
			return ""
		case layout.IsImage(entries):
			return q.Image.Name
		case len(below) == 0:
			return ""
		}
		directory = below[0]
	}
	return ""
}

// namesIn returns the sorted entries of a directory that can be part of an image's name.
func namesIn(entries map[string]cid.Cid) []string {
	var names []string
	for name := range entries {
		if layout.CheckName(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// some names a few of the words.
func some(words []string) string {
	more := ""
	if n := len(words) - maxNamed; n > 0 {
		words, more = words[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(words, ", ") + more
}
