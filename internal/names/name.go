package names

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// A Name is an IPNS key or a domain with a DNSLink. The zero Name is neither.
type Name struct {
	key    cid.Cid // undefined for a domain
	domain string
}

// Parse parses a component of an image name: the CIDv1 of a key in base36 ("k51…") or
// base32 ("bafz…"), in its canonical spelling, or a domain in lower case.
func Parse(s string) (Name, error) {
	if c, err := cid.Decode(s); err == nil {
		return parseKey(s, c)
	}
	if err := CheckDomain(s); err != nil {
		return Name{}, fmt.Errorf("%q is neither an IPNS key (k51…) nor a domain", s)
	}
	return Name{domain: s}, nil
}

func parseKey(s string, c cid.Cid) (Name, error) {
	if c.Type() != cid.Libp2pKey {
		return Name{}, fmt.Errorf("%q is the CID of content and not an IPNS key: leave out ipns/", s)
	}
	if err := checkKey(c); err != nil {
		return Name{}, err
	}
	base := multibase.Encoding(s[0])
	if base != multibase.Base36 && base != multibase.Base32 || encode(c, base) != s {
		return Name{}, fmt.Errorf("%q is not the spelling of the key in an image name: write %s", s, encode(c, multibase.Base36))
	}
	return Name{key: c}, nil
}

// maxInline is the most bytes of a public key that is its own name. Ed25519 keys have
// 36 bytes. Other keys are named by their hash.
const maxInline = 42

func checkKey(c cid.Cid) error {
	p := c.Prefix()
	inline := p.MhType == mh.IDENTITY && p.MhLength <= maxInline
	hashed := p.MhType == mh.SHA2_256 && p.MhLength == 32
	if p.Version != 1 || !inline && !hashed {
		return fmt.Errorf("%s is not an IPNS key", c)
	}
	return nil
}

func encode(c cid.Cid, base multibase.Encoding) string {
	s, err := c.StringOfBase(base)
	if err != nil {
		return "" // not a base for a CIDv1
	}
	return s
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// maxDomain is the most bytes of a domain. It leaves room for the DNSLink label.
const maxDomain = 253 - len(dnslinkLabel)

// CheckDomain returns an error if s is not a domain that can have a DNSLink.
func CheckDomain(s string) error {
	labels := strings.Split(s, ".")
	if len(s) > maxDomain || len(labels) < 2 {
		return fmt.Errorf("%q is not a domain", s)
	}
	for _, l := range labels {
		if !label.MatchString(l) {
			return fmt.Errorf("%q is not a domain: write it in full, in lower case and without wildcards", s)
		}
	}
	return nil
}

// Domain returns the domain, or "" for a key.
func (n Name) Domain() string { return n.domain }

// String returns the domain, or the key in base36.
func (n Name) String() string {
	if n.domain != "" {
		return n.domain
	}
	return encode(n.key, multibase.Base36)
}

// parseLinked parses a name in a record or a DNSLink, in any common spelling.
func parseLinked(s string) (Name, error) {
	lower := strings.TrimSuffix(strings.ToLower(s), ".")
	if CheckDomain(lower) == nil {
		return Name{domain: lower}, nil
	}
	c, err := ipns.ParseName(s)
	if err != nil {
		return Name{}, errors.New("neither an IPNS key nor a domain")
	}
	return Name{key: c}, checkKey(c)
}

const (
	dnslinkLabel = "_dnslink."
	dnslinkKey   = "dnslink="
)
