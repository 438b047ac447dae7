package denylist

import (
	"crypto/sha256"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"
)

// A subject is a CID or a name that rules are about.
type subject struct {
	key    key
	name   bool   // whether it is a name
	modern string // the text that a double hash is of, before "/" and the path
	legacy string // the text that a double hash of badbits is of, before "/" and the path
}

func newContent(c cid.Cid) subject { return newSubject(c, c.Type()) }

func newSubject(c cid.Cid, codec uint64) subject {
	return subject{
		key:    keyOf(c.Hash()),
		modern: c.Hash().B58String(),
		legacy: multibase.MustNewEncoder(multibase.Base32).Encode(cid.NewCidV1(codec, c.Hash()).Bytes()),
	}
}

// newName returns the subject of a name: an IPNS key if the name is a spelling of a
// peer ID, and a domain otherwise.
func newName(name string) subject {
	hash, err := mh.FromB58String(name) // "12D3…", "Qm…"
	if c, notCID := cid.Decode(name); err != nil && notCID == nil {
		hash, err = c.Hash(), nil
	}
	if err == nil {
		s := newSubject(cid.NewCidV1(cid.Libp2pKey, hash), cid.Libp2pKey)
		s.name = true
		return s
	}
	domain := strings.TrimSuffix(strings.ToLower(name), ".")
	return subject{sha256.Sum256([]byte(domain)), true, "/ipns/" + domain, domain}
}
