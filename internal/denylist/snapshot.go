package denylist

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ipfs/go-cid"
)

// ErrNotAllowed is the error for a root that is on no allow list.
var ErrNotAllowed = errors.New("not on the list of what is served here")

// A Denied is the error for content or a name that a deny list denies.
type Denied struct {
	Status int    // HTTP status: 410, or 451 if the list says that it is for legal reasons
	File   string // of the list
	Line   int    // of the rule
}

func (d *Denied) Error() string {
	if d.Status == http.StatusUnavailableForLegalReasons {
		return "denied here for legal reasons"
	}
	return "denied here"
}

// Rule returns the file and line of the rule, for the administrator.
func (d *Denied) Rule() string { return fmt.Sprintf("%s:%d", d.File, d.Line) }

// A snapshot holds the lists in force at one time.
type snapshot struct {
	deny  []*List
	allow []*roots
}

// allows reports whether a root is on an allow list, or there are no allow lists.
func (s *snapshot) allows(root cid.Cid) bool {
	for _, roots := range s.allow {
		if roots.has(root) {
			return true
		}
	}
	return len(s.allow) == 0
}

// check returns the *Denied of a path or of a directory that it leads through, from the
// longest path to the shortest. An exception for a path overrides all earlier rules,
// also those for shorter paths.
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

// A decision is the verdict of one list.
type decision struct {
	Verdict
	list int // index in snapshot.deny; -1 if no list has a verdict
}

// after reports whether the rule comes after that of another decision.
func (d decision) after(other decision) bool {
	return d.list > other.list || d.list == other.list && d.Line > other.Line
}

// decide returns the verdict of the last list that has one.
func (s *snapshot) decide(of subject, path string) decision {
	for i := len(s.deny) - 1; i >= 0; i-- {
		if v := s.deny[i].verdict(of, path); v.Line > 0 {
			return decision{v, i}
		}
	}
	return decision{list: -1}
}
