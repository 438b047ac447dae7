package layout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
)

// The grammars of the OCI distribution specification, section "Pulling
// manifests".
var (
	component = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)
	tag       = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// MaxName is how many characters clients allow for a repository, without its registry
// host.
const MaxName = 255

// MaxImageName is how many characters the name of an image may have, so that clients can
// pull it below an address.
const MaxImageName = MaxName - cidname.Length - 1

// An Image is a directory on IPFS that holds an image.
type Image struct {
	Root cid.Cid
	Name string // slash-separated path below Root, may be empty
}

// ParseImage reads a repository as clients ask for it: <cid>[/<name>], or
// ipfs/<cid>[/<name>] as nerdctl spells it.
func ParseImage(repository string) (Image, error) {
	if len(repository) > MaxName {
		return Image{}, fmt.Errorf("the name has %d characters, more than %d", len(repository), MaxName)
	}
	first, name, _ := strings.Cut(strings.TrimPrefix(repository, "ipfs/"), "/")
	root, err := cidname.Parse(first)
	if err != nil {
		return Image{}, err
	}
	if strings.HasSuffix(repository, "/") {
		return Image{}, fmt.Errorf("%q ends in a slash", repository)
	}
	if name == "" {
		return Image{Root: root}, nil
	}
	if err := CheckName(name); err != nil {
		return Image{}, err
	}
	return Image{root, name}, nil
}

// CheckName returns an error for a name that an image cannot have.
func CheckName(name string) error {
	for c := range strings.SplitSeq(name, "/") {
		if !component.MatchString(c) {
			return fmt.Errorf("%q is not a valid image name: use lower-case letters and digits, separated by '.', '_', '-' or '/'", name)
		}
		if slices.Contains([]string{manifests, blobs, referrers}, c) {
			return fmt.Errorf("%q is not a valid image name here: every image has a directory %q", name, c)
		}
	}
	return nil
}

// CheckTag returns an error for a tag that clients cannot ask for.
func CheckTag(t string) error {
	if !tag.MatchString(t) {
		return fmt.Errorf("%q is not a valid tag: use up to 128 letters, digits, '_', '.' and '-', starting with a letter, digit or '_'", t)
	}
	return nil
}

// A Place is where on IPFS a file is.
type Place = ipfspath.Place

// Place returns the place of the image's directory, or of the file that is the image.
func (img Image) Place() Place { return Place{Root: img.Root, Path: img.Name} }

// A Tagged is one tag of an image below a root, or an untagged image there.
type Tagged struct {
	Name      string        `json:"name,omitempty"` // below the root; empty where the root is the image
	Tag       string        `json:"tag,omitempty"`  // empty for an untagged image
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"` // of the manifest or index
}

// String returns what to call the image, below its root.
func (t Tagged) String() string {
	switch {
	case t.Tag == "" && t.Digest == "":
		return t.Name
	case t.Tag == "":
		return t.Name + "@" + t.Digest.String()
	case IsDigest(t.Tag):
		return t.Name + "@" + t.Tag
	}
	return t.Name + ":" + t.Tag
}
