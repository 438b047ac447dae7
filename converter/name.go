package converter

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A ref is what an image is called below its root: the repository without its
// registry host, and the tag. Both are empty for an untagged image.
type ref struct{ name, tag string }

func (r ref) String() string { return r.name + ":" + r.tag }

// A NameError is the error for a name under which no client could pull an image.
// Options.Name and Options.Tag replace it.
type NameError struct {
	Name string
	Err  error
}

func (e *NameError) Error() string { return fmt.Sprintf("image name %q: %v", e.Name, e.Err) }
func (e *NameError) Unwrap() error { return e.Err }

// parseRef reads a reference as Docker, containerd and podman write it. An image that
// was pulled from an IPFS address is called by what followed the address.
func parseRef(s string) (ref, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return ref{}, err
	}
	r := ref{name: reference.Path(named)}
	if reference.Domain(named) == "docker.io" {
		r.name = reference.FamiliarName(named)
	}
	if img, err := layout.ParseImage(r.name); err == nil {
		r.name = img.Name
	}
	if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		r.tag = tagged.Tag()
	}
	return r, checkRef(r)
}

// checkRef returns an error for a name or tag that clients cannot pull below an
// address. Either may be empty.
func checkRef(r ref) error {
	if len(r.name) > layout.MaxImageName {
		return fmt.Errorf("the name has %d characters, but at most %d fit below an address", len(r.name), layout.MaxImageName)
	}
	if r.name != "" {
		if err := layout.CheckName(r.name); err != nil {
			return err
		}
	}
	if r.tag != "" {
		return layout.CheckTag(r.tag)
	}
	return nil
}

// A writtenName is a name that a program gave an image, as written and as it is read.
type writtenName struct {
	written string
	ref     ref
	err     error // nil where clients can pull ref
}

func readName(s string) writtenName {
	r, err := parseRef(s)
	return writtenName{s, r, err}
}

// readRefName reads the name that OCI's annotation has: a tag, or whatever a program
// likes.
func readRefName(s string) writtenName {
	bare, _, _ := strings.Cut(s, "@")
	if strings.ContainsAny(bare, ":/") {
		return readName(s)
	}
	r := ref{tag: bare}
	return writtenName{s, r, checkRef(r)}
}

func readNames(all []string) []writtenName {
	names := make([]writtenName, len(all))
	for i, s := range all {
		names[i] = readName(s)
	}
	return names
}

// renamed returns the ref of a name after Options.Name and Options.Tag have replaced
// what they replace.
func (n writtenName) renamed(as ref) (ref, error) {
	r, err := n.ref, n.err
	if err != nil {
		r, err = n.rescue(as)
	}
	if err != nil {
		return ref{}, &NameError{n.written, err}
	}
	if as.name != "" {
		r.name = as.name
	}
	if as.tag != "" {
		r.tag = as.tag
	}
	return r, nil
}

// rescue returns the part that as does not replace of a name that is not valid as a
// whole, if that part is.
func (n writtenName) rescue(as ref) (ref, error) {
	name, _, _ := strings.Cut(n.written, "@")
	tag := ""
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name, tag = name[:i], name[i+1:]
	}
	switch {
	case as.name != "" && as.tag != "":
		return as, nil
	case as.name != "" && tag != "":
		r := ref{tag: tag}
		return r, checkRef(r)
	case as.tag != "" && tag != "":
		return parseRef(name)
	}
	return ref{}, n.err
}

// sameName reports whether two names mean one image: as they are spelled, like those
// in OCI layouts, or as Docker understands them.
func sameName(a, b string) bool {
	if a == "" || a == b {
		return a == b
	}
	full, err := fullName(a)
	other, otherErr := fullName(b)
	return err == nil && otherErr == nil && full == other
}

// fullName returns a reference with its registry and its tag.
func fullName(s string) (string, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return "", err
	}
	return reference.TagNameOnly(named).String(), nil
}

// annotatedNames returns the names that an index gives to the image of a descriptor.
func annotatedNames(d v1.Descriptor) []string {
	var names []string
	for _, key := range []string{ocilayout.ContainerdName, v1.AnnotationRefName} {
		if name := d.Annotations[key]; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// signatureTag is a tag by which cosign says what a signature is about.
var signatureTag = regexp.MustCompile(`(?:^|:)sha256-([0-9a-f]{64})(?:\.[a-z]+)?$`)

// signedBy returns the digest of the manifest that one with such a name is about, if
// cosign named it.
func signedBy(d v1.Descriptor) digest.Digest {
	for _, name := range annotatedNames(d) {
		if m := signatureTag.FindStringSubmatch(name); m != nil {
			return digest.NewDigestFromEncoded(digest.SHA256, m[1])
		}
	}
	return ""
}
