package denylist

import (
	"crypto/sha256"
	"strings"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// A Verdict is the effect of the last rule that matches. It is zero if none does.
type Verdict struct {
	Line   int // line of the rule, from 1
	Allow  bool
	Status int // HTTP status of a denial
}

// Match returns the verdict on exactly this path below a CID. Unlike Lists.Check it
// does not look at the directories above.
func (l *List) Match(c cid.Cid, path string) Verdict { return l.verdict(newContent(c), path) }

// MatchName returns the verdict on exactly this path below an IPNS key or DNSLink
// domain.
func (l *List) MatchName(name, path string) Verdict { return l.verdict(newName(name), path) }

// A function is a hash function of double hashes, other than sha2-256.
type function struct {
	code   uint64
	length int
}

func (f function) sum(of []byte) key {
	h, err := mh.Sum(of, f.code, f.length)
	if err != nil {
		panic(err) // parsing the list tried it
	}
	return keyOf(h)
}

// verdict returns the verdict on exactly this path below a subject.
func (l *List) verdict(of subject, path string) Verdict {
	rules := l.content
	if of.name {
		rules = l.names
	}
	v := l.last(rules.find(of.key), path)
	if len(l.hashed) == 0 {
		return v
	}
	// A hash in hex does not say which of the two texts it is of, so both are tried.
	var space [256]byte
	text := append(append(append(space[:0], of.legacy...), '/'), path...)
	v = v.or(l.last(l.hashed.find(sha256.Sum256(text)), ""))
	text = append(space[:0], of.modern...)
	if path != "" {
		text = append(append(text, '/'), path...)
	}
	v = v.or(l.last(l.hashed.find(sha256.Sum256(text)), ""))
	for _, f := range l.functions {
		v = v.or(l.last(l.hashed.find(f.sum(text)), ""))
	}
	return v
}

// last returns the verdict of the last rule that covers the path.
func (l *List) last(rules table, path string) Verdict {
	for i := len(rules) - 1; i >= 0; i-- {
		if a := l.actions[rules[i].action]; a.covers(path) {
			return Verdict{int(rules[i].line), a.allow, a.status}
		}
	}
	return Verdict{}
}

// or returns the verdict of the later rule.
func (v Verdict) or(other Verdict) Verdict {
	if other.Line > v.Line {
		return other
	}
	return v
}

// A List is one deny list.
type List struct {
	file      string
	content   table // rules about CIDs
	names     table // rules about IPNS keys and DNSLink domains
	hashed    table // rules about either, by hash
	functions []function
	actions   []action
}

// Len returns the number of rules. A hash that is valid in both spellings counts as two.
func (l *List) Len() int { return len(l.content) + len(l.names) + len(l.hashed) }

// An action is the effect of a rule. Most rules of a list share one.
type action struct {
	allow  bool
	prefix bool   // whether the rule covers all paths that begin with path
	path   string // below the rule's CID or name
	status int
}

// covers reports whether a rule with this action applies to a path.
func (a action) covers(path string) bool {
	return path == a.path || a.prefix && strings.HasPrefix(path, a.path)
}
