package names

import (
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/multiformats/go-multibase"
)

// cidV0 returns the CIDv0 of some content.
func cidV0(s string) string {
	c, _ := content(s)
	return cid.NewCidV0(c.Hash()).String()
}

func TestOnlyCanonicalSpellingsAreParsed(t *testing.T) {
	for _, kind := range []int{crypto.Ed25519, crypto.RSA} {
		o := newOwner(t, kind)
		base36 := encode(o.name.key, multibase.Base36)
		for _, s := range []string{base36, encode(o.name.key, multibase.Base32)} {
			if n, err := Parse(s); err != nil || n != o.name || n.String() != base36 || n.Domain() != "" {
				t.Errorf("%s: %v, %v", s, n, err)
			}
		}
		for _, s := range []string{
			strings.ToUpper(base36), encode(o.name.key, multibase.Base16), encode(o.name.key, multibase.Base58BTC),
			encode(o.name.key, multibase.Base36Upper), peerID(o),
		} {
			if n, err := Parse(s); err == nil {
				t.Errorf("%s is parsed as %s", s, n)
			}
		}
		if n, err := parseLinked(peerID(o)); err != nil || n != o.name {
			t.Errorf("%s: %s, %v", peerID(o), n, err)
		}
	}
	// Decoders ignore the unused bits of base32's last character.
	s := encode(newOwner(t, crypto.RSA).name.key, multibase.Base32)
	last := strings.IndexByte(base32, s[len(s)-1])
	if n, err := Parse(s[:len(s)-1] + base32[last+1:last+2]); err == nil {
		t.Errorf("another spelling of %s is accepted", n)
	}
	for _, s := range []string{"example.com", "img.example.co.uk", "xn--bcher-kva.example", "a-b.c", "1.2"} {
		if n, err := Parse(s); err != nil || n.String() != s || n.Domain() != s {
			t.Errorf("%s: %v, %v", s, n, err)
		}
	}
	for _, s := range []string{
		"", "nginx", "Example.com", ".example.com", "example.com.", "a..b", "-a.b", "a-.b", "a_b.c", "*.example.com",
		strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 123) + "b",
		"bafkqaaa", pathOf("x")[len("/ipfs/"):], cidV0("x"),
	} {
		if n, err := Parse(s); err == nil {
			t.Errorf("%q is parsed as %s", s, n)
		}
	}
}

const base32 = "abcdefghijklmnopqrstuvwxyz234567"

func peerID(o owner) string {
	name, err := ipns.NameFromCid(o.name.key)
	if err != nil {
		return ""
	}
	return name.Peer().String()
}

func TestErrorsOfParseNameTheRightSpelling(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	for s, want := range map[string]string{
		pathOf("x")[len("/ipfs/"):]:             "leave out ipns/",
		encode(o.name.key, multibase.Base58BTC): "write " + o.name.String(),
		"nginx":                                 "neither an IPNS key (k51…) nor a domain",
	} {
		if _, err := Parse(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", s, err)
		}
	}
}
