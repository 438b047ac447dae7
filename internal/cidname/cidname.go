// Package cidname spells CIDs as components of image names, and reads them back.
//
// An image reference allows lower-case letters and digits only, so the usual
// spelling of a CIDv0 (base58, "Qm…") can never stand in one. The form written
// here is the lower-case, unpadded base32 (RFC 4648) of the CIDv0's multihash:
// always 55 characters, always beginning with "ciq". The form comes from image2ipfs.
// It needs no version or codec, since it always means dag-pb and sha2-256.
//
// The package also reads the CIDv1 multibases that are legal in a reference:
// base32 ("b…"), base36 ("k…") and base16 ("f…").
//
// Every CID has exactly one accepted spelling in each form. Base32 decoders
// ignore the unused bits of the last character, so eight strings decode to one
// "ciq…" and four to one "bafy…"; a caller could use the other seven to get
// around a cache or a deny list. Parse refuses any string that does not encode
// back to itself.
//
// The two kinds of form cannot be confused: as a multibase, "c" is padded
// base32, and 54 characters after it are never a whole number of bytes.
package cidname

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"
)

// Length is the number of characters of the "ciq…" spelling: base32 of 34 bytes.
const Length = 55

const prefix = "ciq"

// ErrNotCID is wrapped by every error of Parse.
var ErrNotCID = errors.New("not a CID that an image name can hold")

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Format returns the "ciq…" spelling of c, which must be a dag-pb CID with a
// full sha2-256 digest, of either version.
func Format(c cid.Cid) (string, error) {
	if err := check(c); err != nil {
		return "", err
	}
	if c.Type() != cid.DagProtobuf {
		return "", fmt.Errorf("%s has the codec 0x%x and no %s… form: %w", c, c.Type(), prefix, ErrNotCID)
	}
	return encoding.EncodeToString(c.Hash()), nil
}

// ParseAny reads a CID in any spelling that anybody uses: those of Parse, and
// whatever go-cid reads. It is for people, not for names that clients send.
func ParseAny(s string) (cid.Cid, error) {
	if c, err := Parse(s); err == nil {
		return c, nil
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q: %w", s, ErrNotCID)
	}
	return c, check(c)
}

// A Spelling is one way to write a CID.
type Spelling struct{ Form, Text string }

// Spellings returns all ways to write a CID that are in use, the one that the
// converter prints first.
func Spellings(c cid.Cid) ([]Spelling, error) {
	if err := check(c); err != nil {
		return nil, err
	}
	var all []Spelling
	if name, err := Format(c); err == nil {
		all = append(all, Spelling{"image name", name}, Spelling{"CIDv0", cid.NewCidV0(c.Hash()).String()})
	}
	c = cid.NewCidV1(c.Type(), c.Hash())
	for _, base := range []multibase.Encoding{multibase.Base32, multibase.Base36, multibase.Base16} {
		text, err := c.StringOfBase(base)
		if err != nil {
			return nil, err
		}
		all = append(all, Spelling{"CIDv1, " + multibase.EncodingToStr[base], text})
	}
	return all, nil
}

// Parse reads a component of an image name as the CID of a file or directory:
// the "ciq…" form or a CIDv1 in base32, base36 or base16, in its one accepted
// spelling, with codec dag-pb or raw and a full sha2-256 digest.
// The result is always a CIDv1, so that one image has one key.
//
// The error of a CID in another spelling names the right one.
func Parse(s string) (cid.Cid, error) {
	if isFormat(s) {
		return parseFormat(s)
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q: %w", s, ErrNotCID)
	}
	if err := check(c); err != nil {
		return cid.Undef, err
	}
	if canonical(s, c) {
		return c, nil
	}
	return cid.Undef, &SpellingError{Got: s, Want: preferred(c)}
}

// A SpellingError is a CID written in a way that an image name cannot hold, or
// that is not its one accepted spelling.
type SpellingError struct {
	Got  string
	Want string // the spelling to use instead
}

func (e *SpellingError) Error() string {
	return fmt.Sprintf("%q is written %s in an image name", e.Got, e.Want)
}

func (e *SpellingError) Unwrap() error { return ErrNotCID }

func isFormat(s string) bool {
	return len(s) == Length && strings.HasPrefix(s, prefix)
}

func parseFormat(s string) (cid.Cid, error) {
	b, err := encoding.DecodeString(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q: %w", s, ErrNotCID)
	}
	hash, err := mh.Cast(b)
	if err != nil {
		return cid.Undef, fmt.Errorf("%q: %w", s, ErrNotCID)
	}
	c := cid.NewCidV1(cid.DagProtobuf, hash)
	if err := check(c); err != nil {
		return cid.Undef, err
	}
	if want := encoding.EncodeToString(b); want != s {
		return cid.Undef, &SpellingError{Got: s, Want: want}
	}
	return c, nil
}

// check admits files and directories addressed by a full sha2-256 digest.
// Identity CIDs carry their own content and shortened digests can be forged.
func check(c cid.Cid) error {
	p := c.Prefix()
	if p.MhType != mh.SHA2_256 || p.MhLength != 32 {
		return fmt.Errorf("%s does not have a full sha2-256 digest: %w", c, ErrNotCID)
	}
	if p.Codec != cid.DagProtobuf && p.Codec != cid.Raw {
		return fmt.Errorf("%s has the codec 0x%x and is no file or directory: %w", c, c.Type(), ErrNotCID)
	}
	return nil
}

func canonical(s string, c cid.Cid) bool {
	if c.Version() != 1 {
		return false
	}
	base := multibase.Encoding(s[0])
	switch base {
	case multibase.Base32, multibase.Base36, multibase.Base16:
	default:
		return false
	}
	want, err := c.StringOfBase(base)
	return err == nil && want == s
}

func preferred(c cid.Cid) string {
	if s, err := Format(c); err == nil {
		return s
	}
	return cid.NewCidV1(c.Type(), c.Hash()).String()
}
