// Package names finds out what IPNS keys and domains with a DNSLink stand for.
//
// A key's owner signs records: a path on IPFS, a number that grows with each
// record, until when it is valid, and for how long it may be kept (its TTL).
// Gateways hand records on, and are not trusted with it: signatures are checked,
// two gateways are asked, and nothing older than what was ever seen is believed,
// over restarts too where there is a store. So what a gateway can do is not to
// tell of a new record, as long as the old one is valid.
//
// A DNSLink is a TXT record of _dnslink.<domain>. Nothing proves it but the way
// to the DNS server, and whoever could choose the domain could choose where this
// machine sends its questions. So only the domains that were configured are
// looked up, on whatever way a request leads there.
//
// What a name stands for is remembered for its TTL, and longer where it cannot be
// looked up again. Everything that is remembered is bounded, since anybody can
// make keys.
package names

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
)

// A Config is which names are resolved, and how.
type Config struct {
	Keys    bool     // whether every IPNS key is
	Domains []string // those that are, as CheckDomain wants them
	Others  []Name   // that are whatever these say

	Pool   *gateway.Pool // to get records from; nil for none
	Server string        // to ask for DNSLinks, as ParseServer returns it; empty for the system's
	Dir    string        // where records are kept, made if the directory above exists; empty for nowhere

	// Failed is told what went wrong on the way, a gateway.Failure where that
	// was at a gateway.
	Failed func(Name, error)
}

// A Resolver finds out what names stand for. Its methods may be called
// concurrently.
type Resolver struct {
	config Config
	links  *linkCache

	mu      sync.Mutex
	history *simplelru.LRU[Name, []stay]
}

// New returns a resolver.
func New(c Config) (*Resolver, error) {
	for _, domain := range c.Domains {
		if err := CheckDomain(domain); err != nil {
			return nil, err
		}
	}
	history, err := simplelru.NewLRU[Name, []stay](maxNames, nil)
	if err != nil {
		return nil, err
	}
	keys, domains := newKeys(c.Pool, c.Dir, c.Failed), newDomains(c.Server, c.Failed)
	links := newLinkCache(func(ctx context.Context, n Name) (link, error) {
		if n.domain != "" {
			return domains.lookup(ctx, n)
		}
		return keys.lookup(ctx, n)
	})
	return &Resolver{config: c, links: links, history: history}, nil
}

// A Place is a directory on IPFS.
type Place = ipfspath.Place

// A Step is another name that a name leads through.
type Step struct {
	Name Name
	Path string // slash-separated, below Name; may be empty
}

// An End is where a name leads to, and by which way.
type End struct {
	Place
	Way []Step
}

// A Resolved is what a name stands for.
type Resolved struct {
	End
	Expires time.Time // until when nobody needs to ask again
	Before  []End     // what it stood for within the last hour, newest first
}

// A NotAllowedError is a name that the configuration does not allow.
type NotAllowedError struct{ Name Name }

func (e *NotAllowedError) Error() string { return fmt.Sprintf("%s is not allowed", e.Name) }

// maxLinks is how many names may lead to one another.
const maxLinks = 8

// Resolve returns what n stands for. If it is not allowed, the error is a
// *NotAllowedError; if it stands for nothing, fs.ErrNotExist.
func (r *Resolver) Resolve(ctx context.Context, n Name) (Resolved, error) {
	if n.domain == "" && !r.config.Keys && !slices.Contains(r.config.Others, n) {
		return Resolved{}, &NotAllowedError{n}
	}
	var found Resolved
	at := n
	for range maxLinks {
		// Keys that an allowed name leads to are its owner's choice.
		if at.domain != "" && !slices.Contains(r.config.Domains, at.domain) && !slices.Contains(r.config.Others, at) {
			return Resolved{}, &NotAllowedError{at}
		}
		l, err := r.links.get(ctx, at)
		if err != nil {
			return Resolved{}, err
		}
		found.Path = path.Join(l.path, found.Path)
		if found.Expires.IsZero() || l.fresh.Before(found.Expires) {
			found.Expires = l.fresh
		}
		if l.root.Defined() {
			found.Root = l.root
			found.Before = r.moved(n, found.End)
			return found, nil
		}
		at = l.name
		found.Way = append(found.Way, Step{at, found.Path})
	}
	return Resolved{}, fmt.Errorf("%s leads through more than %d names: %w", n, maxLinks, fs.ErrNotExist)
}

// A stay is where a name led to, and when it last did.
type stay struct {
	End
	last time.Time
}

const (
	// maxStays is how many places of a name are remembered.
	maxStays = 4

	// memory is for how long: a client that began to pull before a name moved
	// wants the rest of the same image.
	memory = time.Hour
)

// moved remembers where n leads to now, and returns where it did before.
func (r *Resolver) moved(n Name, to End) []End {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	stays := []stay{{to, now}}
	var before []End
	known, _ := r.history.Get(n)
	for _, s := range known {
		if s.Place != to.Place && now.Sub(s.last) < memory && len(stays) < maxStays {
			stays = append(stays, s)
			before = append(before, s.End)
		}
	}
	r.history.Add(n, stays)
	return before
}
