// Package denylist decides which content may be served: deny lists name content that is
// refused, and allow lists name the only roots that are served.
//
// Deny lists are in the compact format of IPIP-383, like the well-known badbits list: an
// optional YAML header, then one rule on each line.
//
//	/ipfs/<cid>              a CID, in any version, codec and base
//	/ipfs/<cid>/<path>       a path below it
//	/ipfs/<cid>/<path>*      every path that begins with <path>; /* is every path
//	/ipns/<name>…            the same for IPNS keys and DNSLink domains
//	//<hash>                 the hash of any of these
//	!<rule>                  an exception from the rules before it
//
// The last rule that matches decides, and later lists come after earlier ones. The
// package follows https://specs.ipfs.tech/compact-denylist-format/, and where that is
// silent the reference implementation, nopfs. It differs from nopfs on purpose in four
// points: the order of rules counts whatever their kind, percent-encoding is read as in
// URLs ("+" is not a space and "%2A" not a wildcard), a hint may be written "key:value",
// and the last line counts even without a newline.
//
// Images are directories, so clients never ask for what most rules name. A rule
// therefore also denies everything below the directory that it denies, by CID or by path:
// /ipfs/<cid> means the same as /ipfs/<cid>/*, which the specification leaves open. An
// exception covers exactly what it says.
//
// A rule takes 40 bytes of memory, and its path if it has one. Lists may be long, so
// rules are looked up by hash in a sorted table.
//
// A list with a malformed line is refused as a whole. The list that was read before it
// stays in force; if there is none, the server does not start.
package denylist

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
)

// Lists are the deny lists and allow lists in force. Methods may be called concurrently.
// A nil *Lists lets everything pass.
type Lists struct {
	current atomic.Pointer[snapshot]

	looking sync.Mutex // guards the sources' state while files are looked at
	sources []*source
}

// Open reads deny lists and allow lists. If there are allow lists, only their roots may
// be served.
func Open(deny, allow []string) (*Lists, error) {
	l := new(Lists)
	for i, file := range deny {
		l.sources = append(l.sources, &source{file: file, at: i})
	}
	for i, file := range allow {
		l.sources = append(l.sources, &source{file: file, allow: true, at: i})
	}
	s := &snapshot{deny: make([]*List, len(deny)), allow: make([]*roots, len(allow))}
	for _, src := range l.sources {
		if err := src.open(s); err != nil {
			return nil, err
		}
	}
	l.current.Store(s)
	return l, nil
}

// A File is the file of a list.
type File struct {
	Name  string
	Allow bool // whether it is an allow list
	Rules int  // in force
}

// Files returns the files of all lists, deny lists first.
func (l *Lists) Files() []File {
	if l == nil {
		return nil
	}
	files := make([]File, len(l.sources))
	for i, src := range l.sources {
		files[i] = File{src.file, src.allow, int(src.rules.Load())}
	}
	return files
}

// Check returns why the file or directory at a slash-separated path below root may not
// be served: ErrNotAllowed or a *Denied. Callers check before they fetch anything, and
// again with the CIDs that the path resolves to, since denied content may be linked
// from any directory.
//
// resolved are the CIDs of the directories on the path, in order, and last the CID at
// its end. Callers may leave out any number of them at the front, so the last one is
// enough.
func (l *Lists) Check(root cid.Cid, path string, resolved ...cid.Cid) error {
	if l == nil {
		return nil
	}
	if !l.current.Load().allows(root) {
		return ErrNotAllowed
	}
	return l.CheckDenied(root, path, resolved...)
}

// CheckDenied is Check for a root that no allow list need name: the store's own.
func (l *Lists) CheckDenied(root cid.Cid, path string, resolved ...cid.Cid) error {
	if l == nil {
		return nil
	}
	s := l.current.Load()
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

// CheckName returns the *Denied for which a path below an IPNS key or DNSLink domain may
// not be served. Check decides about the content that the name resolves to.
func (l *Lists) CheckName(name, path string) error {
	if l == nil {
		return nil
	}
	return l.current.Load().check(newName(name), strings.Trim(path, "/"))
}
