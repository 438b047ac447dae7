// Package registry answers the OCI distribution protocol: /v2 and all below it, from the
// images of a library. Clients push into the repositories of a store's own root.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md
//
// A path is parsed once, into a request (path.go). The serve functions ask the library
// for an image, or a part of one, and write it to the client. One place maps the
// library's errors to answers (answers.go).
//
// Requests that change something, or are about an upload, take their own way from there:
// servePush decides who may do it (push.go), and calls the verb for the method and the kind
// of thing. All else is read, also from the own root (own.go).
//
// A Registry is an http.Handler in all but its signature: a Request also has what the
// server around it knows about the client, and the server observes the outcome.
package registry

import (
	"context"
	"net/http"
	"net/url"
	"sync"

	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// A Config is the configuration of a Registry. Only the library and the logger are
// required.
type Config struct {
	Library  *images.Library
	Resolver *names.Resolver // of IPNS keys and domains; nil if none are allowed
	Root     *Root           // whose images have plain names; nil for none
	Catalog  bool            // whether /v2/_catalog lists images
	Redirect *url.URL        // the gateway that clients fetch blobs from themselves; nil to proxy
	Push     *Push           // to the Root, which is a store's own then; nil if clients cannot push
	Logger   *zap.Logger
	Hooks    Hooks
}

// Hooks are called while a registry answers. They must be safe for concurrent use, and any
// of them may be nil.
type Hooks struct {
	// Resolving is called before a name or a reference is looked up, and its end
	// when that is over. The look-up uses the context that it returns.
	Resolving func(ctx context.Context, key, value string) (_ context.Context, end func(error))

	// NameResolved is called after each look-up of an IPNS key or a domain. The error is
	// an *images.Error, or nil.
	NameResolved func(err error)

	// Refused is called for each request that the lists refuse.
	Refused func(err error)

	// Receiving is called when a client begins to send bytes of a blob, and its end with
	// how many came, and one of Results.
	Receiving func() (end func(bytes int64, result string))

	// Changing is called before a change of the own root, and its end after it, with one
	// of Results.
	Changing func() (end func(result string))

	// Pushed is called after a manifest was pushed.
	Pushed func(Pushed)
}

// withDefaults returns the hooks with one that does nothing in place of each nil.
func (h Hooks) withDefaults() Hooks {
	if h.Resolving == nil {
		h.Resolving = func(ctx context.Context, _, _ string) (context.Context, func(error)) { return ctx, func(error) {} }
	}
	if h.NameResolved == nil {
		h.NameResolved = func(error) {}
	}
	if h.Refused == nil {
		h.Refused = func(error) {}
	}
	if h.Receiving == nil {
		h.Receiving = func() func(int64, string) { return func(int64, string) {} }
	}
	if h.Changing == nil {
		h.Changing = func() func(string) { return func(string) {} }
	}
	if h.Pushed == nil {
		h.Pushed = func(Pushed) {}
	}
	return h
}

// A Registry answers requests. Its methods may be called concurrently.
type Registry struct {
	Config
	tagged    tagged
	addresses *memo.Cache[layout.Image, cid.Cid]
	noUser    sync.Once // to log that a client without a user tried to push
}

// New returns a registry.
func New(c Config) *Registry {
	c.Hooks = c.Hooks.withDefaults()
	return &Registry{Config: c, tagged: newTagged(), addresses: newAddresses()}
}

// A Request is a client's request, and what the server around the registry knows
// about it.
type Request struct {
	*http.Request
	Original    *url.URL    // before the server rewrote it; nil if it did not
	Private     bool        // whether the client may have shown credentials that only the server knows
	User        string      // that the server authenticated; empty for none
	Observation Observation // of this request; may be nil
}

// An Observation is told about a request while it is answered.
type Observation interface {
	// Asked gets the subject of the request. It is called again when a name has been
	// resolved.
	Asked(Subject)

	// From says where the content of the answer comes from.
	From(images.Origin)
}

// A Subject is what a request is for. Fields that do not apply are empty.
type Subject struct {
	Kind, CID, Name, Reference string

	Address string // of what was pushed, on IPFS
}
