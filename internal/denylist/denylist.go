// Package denylist decides what may be served: by lists of what is denied, and
// by lists of the only roots that are allowed.
//
// Deny lists are compact deny lists (IPIP-383), of which badbits is the best
// known: an optional YAML header, then a rule a line.
//
//	/ipfs/<cid>              a CID, in whatever version, codec and base
//	/ipfs/<cid>/<path>       a path below it
//	/ipfs/<cid>/<path>*      every path that begins so; /* is every path there is
//	/ipns/<name>…            the same for IPNS keys and DNSLink domains
//	//<hash>                 any of these, without saying which: by the hash of it
//	!<rule>                  an exception, from what is denied before it
//
// The last rule that matches decides, and later lists come after earlier ones.
// https://specs.ipfs.tech/compact-denylist-format/ is followed where it says
// something, and its reference implementation, nopfs, where it does not. What
// differs from nopfs is meant to: that the order of rules counts whatever their
// kind is, that percent-encoding is read as in URLs ("+" is no space, "%2A" no
// wildcard), that a hint may be written "key:value", and that the last line
// counts without a newline, too.
//
// Images are directories, so nobody ever asks for what most rules name. What is
// below a denied directory is therefore denied as well, be it denied by CID or
// by path: /ipfs/<cid> is like /ipfs/<cid>/*, as the specification leaves open,
// but for exceptions, which reach as far as they say.
//
// A rule is 40 bytes in memory, and a path where it has one. Lists may be long:
// what is on them is looked up by hash in a sorted table, never walked.
//
// A list with a line that is no rule cannot be read, and what cannot be read is
// never in force: better an old list, or no server, than half a list.
package denylist

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
)

// Lists are the files that say what may be served. All methods may be called
// concurrently; nil is no lists, and lets everything pass.
type Lists struct {
	current atomic.Pointer[snapshot]

	looking sync.Mutex // held by who looks at the files
	sources []*source
}

// A snapshot is what all files said at one time.
type snapshot struct {
	deny  []*List
	allow []*roots
}

// Open reads deny lists and allow lists. Where there are allow lists, only
// their roots may be served.
func Open(deny, allow []string) (*Lists, error) {
	l := new(Lists)
	s := &snapshot{deny: make([]*List, len(deny)), allow: make([]*roots, len(allow))}
	for i, file := range deny {
		l.sources = append(l.sources, &source{file: file, load: func(s *snapshot) (int, error) {
			list, err := readFile(file, Parse)
			if err != nil {
				return 0, err
			}
			s.deny[i] = list
			return list.Len(), nil
		}})
	}
	for i, file := range allow {
		l.sources = append(l.sources, &source{file: file, allow: true, load: func(s *snapshot) (int, error) {
			list, err := readFile(file, parseRoots)
			if err != nil {
				return 0, err
			}
			s.allow[i] = list
			return len(list.sorted), nil
		}})
	}
	for _, src := range l.sources {
		if err := src.open(s); err != nil {
			return nil, err
		}
	}
	l.current.Store(s)
	return l, nil
}

// ErrNotAllowed is the error for a root that no allow list has.
var ErrNotAllowed = errors.New("not on the list of what is served here")

// A Denied is the error for what a deny list denies.
type Denied struct {
	Status int    // of HTTP: 410, or 451 where the list says that the law wants it
	File   string // of the list
	Line   int    // of the rule
}

func (d *Denied) Error() string {
	if d.Status == http.StatusUnavailableForLegalReasons {
		return "denied here for legal reasons"
	}
	return "denied here"
}

// Rule says where the rule is, for whoever keeps the list.
func (d *Denied) Rule() string { return fmt.Sprintf("%s:%d", d.File, d.Line) }

// Check returns why the file or directory at a slash-separated path below root
// may not be served: ErrNotAllowed, or a *Denied. It is to be called before
// anything is fetched, and again as soon as it is known what the path resolves
// to, since what is denied may be linked from elsewhere.
//
// resolved are the CIDs that the path leads through, in its order: those of
// directories on the way, and last that of what is at its end. Any number of
// them may be left out at the front, so the last one alone will do.
func (l *Lists) Check(root cid.Cid, path string, resolved ...cid.Cid) error {
	if l == nil {
		return nil
	}
	s := l.current.Load()
	if !s.allows(root) {
		return ErrNotAllowed
	}
	path = strings.Trim(path, "/")
	if err := s.check(newContent(root), path); err != nil {
		return err
	}
	from := len(path) // where the path below the resolved CID begins
	for i := len(resolved) - 1; i >= 0; i-- {
		if err := s.check(newContent(resolved[i]), strings.TrimPrefix(path[from:], "/")); err != nil {
			return err
		}
		from = max(0, strings.LastIndexByte(path[:from], '/'))
	}
	return nil
}

// CheckName returns the *Denied for which a path below an IPNS key or DNSLink
// domain may not be served. What the name stands for is Check's to decide.
func (l *Lists) CheckName(name, path string) error {
	if l == nil {
		return nil
	}
	return l.current.Load().check(newName(name), strings.Trim(path, "/"))
}

func (s *snapshot) allows(root cid.Cid) bool {
	for _, roots := range s.allow {
		if roots.has(root) {
			return true
		}
	}
	return len(s.allow) == 0
}

// check asks about a path and, from the longest to the shortest, about those of
// the directories that it leads through. An exception for a longer path is one
// from all earlier rules for shorter ones.
func (s *snapshot) check(of subject, path string) error {
	exception := decision{list: -1}
	for {
		d := s.decide(of, path)
		switch {
		case d.list < 0:
		case !d.Allow && d.after(exception):
			return &Denied{d.Status, s.deny[d.list].file, d.Line}
		case d.Allow && d.after(exception):
			exception = d
		}
		if path == "" {
			return nil
		}
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
}

// A decision is a verdict of one of the lists, -1 if of none.
type decision struct {
	Verdict
	list int
}

func (d decision) after(other decision) bool {
	return d.list > other.list || d.list == other.list && d.Line > other.Line
}

// decide asks the last list first, which has the last word.
func (s *snapshot) decide(of subject, path string) decision {
	for i := len(s.deny) - 1; i >= 0; i-- {
		if v := s.deny[i].verdict(of, path); v.Line > 0 {
			return decision{v, i}
		}
	}
	return decision{list: -1}
}
