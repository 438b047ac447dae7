package converter

import (
	"fmt"
	"io"
	"slices"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
)

// A Source is where images come from.
type Source interface {
	// read takes in what is there, or as much of it as it takes to find the rest.
	read(a *archive) error
}

// FromArchive returns the source of the images in a Docker or OCI archive, which
// is read to its end. With a name, it is of the one image that the archive calls
// so.
func FromArchive(r io.Reader, name string) Source { return fromArchive{r, name} }

type fromArchive struct {
	tar  io.Reader
	name string
}

func (s fromArchive) read(a *archive) error {
	a.want.name = s.name
	return a.readTar(s.tar)
}

// want is which images of an archive are wanted, and what they are to be called.
type want struct {
	name     string             // what the archive calls the one that is wanted; all if empty
	platform *platform.Platform // of which an index's image is wanted; all if nil
	as       ref                // what to call the one image instead of what it is called
}

// is reports whether one of an image's names is the one that is wanted.
func (w want) is(names ...string) bool {
	return w.name == "" || slices.ContainsFunc(names, func(name string) bool { return sameName(name, w.name) })
}

// sameName reports whether two names mean one image: as they are spelled, as
// those of OCI layouts do, or as Docker understands them.
func sameName(a, b string) bool {
	if a == "" || a == b {
		return a == b
	}
	full, err := fullName(a)
	other, otherErr := fullName(b)
	return err == nil && otherErr == nil && full == other
}

// check refuses what clients could not pull, before anything is read for
// it.
func (w want) check(refs []ref) error {
	for _, r := range refs {
		if w.as.name != "" {
			r.name = w.as.name
		}
		if w.as.tag != "" {
			r.tag = w.as.tag
		}
		if err := checkRef(r); err != nil {
			return fmt.Errorf("%w: call it something else with --name and --tag", err)
		}
	}
	return nil
}

// noSuchImage says that what is wanted is not there, and what is.
func (a *archive) noSuchImage(names []string) error {
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	if len(names) == 0 {
		return fmt.Errorf("no image in %s is called %q, nor anything else", a.where, a.want.name)
	}
	return fmt.Errorf("no image in %s is called %q: there is %s", a.where, a.want.name, alternatives.List(names))
}

// names returns what an index calls the image of a descriptor.
func names(d v1.Descriptor) []string {
	return []string{d.Annotations[ocilayout.ContainerdName], d.Annotations[v1.AnnotationRefName]}
}
