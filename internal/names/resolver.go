// Package names resolves IPNS keys and domains with a DNSLink.
//
// The owner of an IPNS key signs records: a path on IPFS, a sequence number, the end of
// the record's validity, and a TTL. Gateways deliver records and are not trusted:
// signatures are checked, two gateways are asked, and no record older than one that was
// seen before is accepted, over restarts too if there is a store. So the worst that
// gateways can do is to withhold a new record while the old one is valid.
//
// A DNSLink is a TXT record of _dnslink.<domain>. Nothing proves it but the way to the
// DNS server, and a client that could choose the domain could direct this machine's
// queries. So only configured domains are looked up, also where another name leads to
// them.
//
// A result is remembered for its TTL, and for longer while look-ups fail. Memory and
// disk are bounded, since anyone can make keys. Names in use keep their place.
package names

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
)

// A Config says which names are resolved, and how.
type Config struct {
	Keys    bool     // whether all IPNS keys are resolved
	Domains []string // domains that are resolved, as accepted by CheckDomain
	Others  []Name   // names that are resolved whatever Keys and Domains say

	Pool   *gateway.Pool // source of records; nil for none
	Server string        // DNS server, as returned by ParseServer; default: the system's resolver
	Dir    string        // where records are kept, made if the directory above exists; empty for nowhere

	// Failed is called for each failure of a gateway, as a gateway.Failure, of a
	// resolver, or of the disk.
	Failed func(Name, error)
}

// isConfigured reports whether a name is resolved because the configuration names it.
func (c Config) isConfigured(n Name) bool {
	return slices.Contains(c.Others, n) || n.domain != "" && slices.Contains(c.Domains, n.domain)
}

// A Resolver resolves names. Its methods may be called concurrently.
type Resolver struct {
	config  Config
	keys    *keys
	links   *linkCache
	history *memory[[]stay]
}

// New returns a resolver.
func New(c Config) (*Resolver, error) {
	for _, domain := range c.Domains {
		if err := CheckDomain(domain); err != nil {
			return nil, err
		}
	}
	keys, domains := newKeys(c.Pool, c.Dir, c.Failed, c.isConfigured), newDomains(c.Server, c.Failed)
	lookup := func(ctx context.Context, n Name) (link, error) {
		if n.domain != "" {
			return domains.lookup(ctx, n)
		}
		return keys.lookup(ctx, n)
	}
	return &Resolver{
		config:  c,
		keys:    keys,
		links:   newLinkCache(lookup, c.isConfigured, keys.noteInUse),
		history: newMemory[[]stay](c.isConfigured, nil),
	}, nil
}

// A Place is a directory on IPFS.
type Place = ipfspath.Place

// A Step is another name on the way from a name to a place.
type Step struct {
	Name Name
	Path string // slash-separated, below Name; may be empty
}

// An End is the place that a name stands for, and the names on the way there.
type End struct {
	Place
	Way []Step

	// Literal says that no tag below the place is an alias, because the place is in a store's
	// own root. The owner of the key says so in the record.
	Literal bool
}

// A Resolved is what a name stands for.
type Resolved struct {
	End
	Expires time.Time // when to resolve it again
	Before  []End     // what the name stood for within the last hour, newest first
}

// A NotAllowedError is the error for a name that the configuration does not allow.
type NotAllowedError struct{ Name Name }

func (e *NotAllowedError) Error() string { return fmt.Sprintf("%s is not allowed", e.Name) }

// maxLinks is the most names on the way to a place.
const maxLinks = 8

// Resolve returns what n stands for. If n or a name on the way is not allowed, the error
// is a *NotAllowedError; if n stands for nothing, it is fs.ErrNotExist.
func (r *Resolver) Resolve(ctx context.Context, n Name) (Resolved, error) {
	if n.domain == "" && !r.config.Keys && !slices.Contains(r.config.Others, n) {
		return Resolved{}, &NotAllowedError{n}
	}
	var found Resolved
	at := n
	for range maxLinks {
		// The owner of an allowed name may choose any key.
		if at.domain != "" && !r.config.isConfigured(at) {
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
			found.Root, found.Literal = l.root, l.literal
			found.Before = r.moved(n, found.End)
			return found, nil
		}
		at = l.name
		found.Way = append(found.Way, Step{at, found.Path})
	}
	return Resolved{}, fmt.Errorf("%s leads through more than %d names: %w", n, maxLinks, fs.ErrNotExist)
}

// A stay is a place that a name stood for, and when it last did.
type stay struct {
	End
	last time.Time
}

const (
	// maxStays is the number of places of a name that are remembered.
	maxStays = 4

	// stayTime is how long a former place is remembered. A client that began to pull
	// before the name moved requests the rest of the same image.
	stayTime = time.Hour
)

// moved remembers the place that n stands for now, and returns the former ones.
func (r *Resolver) moved(n Name, to End) []End {
	now := time.Now()
	known, _ := r.history.use(n)
	stays := []stay{{to, now}}
	var before []End
	for _, s := range known {
		if s.Place != to.Place && now.Sub(s.last) < stayTime && len(stays) < maxStays {
			stays = append(stays, s)
			before = append(before, s.End)
		}
	}
	r.history.set(n, stays)
	return before
}
