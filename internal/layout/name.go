package layout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	// Both hashes that the image specification registers can be digests.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
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

// CheckName returns why an image cannot have the name, if so.
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

// CheckTag returns why clients cannot ask for the tag, if so.
func CheckTag(t string) error {
	if !tag.MatchString(t) {
		return fmt.Errorf("%q is not a valid tag: use up to 128 letters, digits, '_', '.' and '-', starting with a letter, digit or '_'", t)
	}
	return nil
}

// ParseDigest reads a digest as manifests and clients write it: sha256:<hex>
// or sha512:<hex>.
func ParseDigest(s string) (digest.Digest, error) {
	d, err := digest.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, err)
	}
	return d, nil
}

// IsDigest reports whether a manifest's reference is meant as a digest. No tag
// has a colon.
func IsDigest(reference string) bool { return strings.Contains(reference, ":") }
