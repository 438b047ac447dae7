package converter

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

// want says which images of a source are wanted, and what they are to be called.
type want struct {
	image    string             // name, digest or @position of one image; all if empty
	platform *platform.Platform // the one to choose of an index; all if nil
	as       ref                // what to call the one image instead of its own name
}

// isNumber reports whether an image is wanted by its position, and returns that.
func (w want) isNumber() (position int, ok bool) {
	s, found := strings.CutPrefix(w.image, "@")
	n, err := strconv.Atoi(s)
	return n, found && err == nil
}

// digest returns the digest by which an image is wanted, if it is one.
func (w want) digest() digest.Digest {
	d := digest.Digest(strings.TrimPrefix(w.image, "@"))
	if d.Validate() != nil {
		return ""
	}
	return d
}

// is reports whether one image is the wanted one, by its position, digest or names.
func (w want) is(position int, d digest.Digest, names []string) bool {
	if w.image == "" {
		return true
	}
	if n, ok := w.isNumber(); ok {
		return n == position
	}
	if wanted := w.digest(); wanted != "" {
		return wanted == d
	}
	return slices.ContainsFunc(names, func(name string) bool { return sameName(name, w.image) })
}

// check refuses names that no client could pull, before anything is read: the new
// name, and the one under which a source was asked for an image.
func (w want) check(asked string) error {
	if err := checkRef(w.as); err != nil {
		return &NameError{w.as.String(), err}
	}
	if asked == "" {
		return nil
	}
	_, err := readName(asked).renamed(w.as)
	return err
}
