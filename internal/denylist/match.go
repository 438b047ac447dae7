package denylist

import (
	"crypto/sha256"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"
)

// A Verdict is what the last rule says that matches. Without one, it is zero.
type Verdict struct {
	Line   int // of the rule, from 1
	Allow  bool
	Status int // of HTTP, where it denies
}

// Match returns what the list says of exactly this path below a CID.
func (l *List) Match(c cid.Cid, path string) Verdict { return l.verdict(newContent(c), path) }

// MatchName returns what the list says of exactly this path below an IPNS key
// or DNSLink domain.
func (l *List) MatchName(name, path string) Verdict { return l.verdict(newName(name), path) }

// A subject is what rules can be about: a CID, or a name.
type subject struct {
	key    key
	name   bool
	modern string // what a double hash is made of, if there is no path
	legacy string // what badbits makes one of, before "/" and the path
}

func newContent(c cid.Cid) subject { return newSubject(c, c.Type()) }

func newSubject(c cid.Cid, codec uint64) subject {
	return subject{
		key:    keyOf(c.Hash()),
		modern: c.Hash().B58String(),
		legacy: multibase.MustNewEncoder(multibase.Base32).Encode(cid.NewCidV1(codec, c.Hash()).Bytes()),
	}
}

// newName reads the name as a key, in one of the spellings of a peer's ID, and
// else as a domain.
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

// A function is one by which double hashes are made, beside sha2-256.
type function struct {
	code   uint64
	length int
}

func (f function) key(of []byte) key {
	h, err := mh.Sum(of, f.code, f.length)
	if err != nil {
		panic(err) // it was used when the list was read
	}
	return keyOf(h)
}

func (l *List) verdict(of subject, path string) Verdict {
	rules := l.content
	if of.name {
		rules = l.names
	}
	v := l.last(rules.find(of.key), path)
	if len(l.hashed) == 0 {
		return v
	}
	// Hashes in hex do not say what they are of, so both ways are tried for
	// all of them.
	var space [256]byte
	text := append(append(append(space[:0], of.legacy...), '/'), path...)
	v = v.or(l.last(l.hashed.find(sha256.Sum256(text)), ""))
	text = append(space[:0], of.modern...)
	if path != "" {
		text = append(append(text, '/'), path...)
	}
	v = v.or(l.last(l.hashed.find(sha256.Sum256(text)), ""))
	for _, f := range l.functions {
		v = v.or(l.last(l.hashed.find(f.key(text)), ""))
	}
	return v
}

// last returns the verdict of the last of the rules that covers the path.
func (l *List) last(rules table, path string) Verdict {
	for i := len(rules) - 1; i >= 0; i-- {
		if a := l.actions[rules[i].action]; a.covers(path) {
			return Verdict{int(rules[i].line), a.allow, a.status}
		}
	}
	return Verdict{}
}

func (v Verdict) or(other Verdict) Verdict {
	if other.Line > v.Line {
		return other
	}
	return v
}
