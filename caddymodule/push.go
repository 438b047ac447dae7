package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Push lets clients push images, which are kept in the store below its own root:
//
//	docker push registry.example.com/<name>[:<tag>]
//
// An image can be pulled by its name as soon as its push has ended, and by the address
// that the answer to the push tells (`Warning`, `X-Ipfs-Path`), which is of a directory
// that holds this repository alone.
//
// Only clients that Caddy has authenticated can push: those with a user
// (`{http.auth.user.id}`, as `basic_auth` sets it) or with a verified client certificate.
// Requests that a browser sends on behalf of another site are refused.
//
// The root has an IPNS name (k51…), which always leads to the root's current state. Caddy
// makes the key of the name when it first runs with this option, and signs a new record with
// each change.
//
// A manifest can name only blobs that its repository has: that were pushed to it or mounted
// into it. Clients cannot find out which blobs other repositories have. They can mount blobs
// of repositories whose name has the same first component.
type Push struct {
	// Whether clients need not be authenticated. Default: `false`.
	Anonymous bool `json:"anonymous,omitempty"`

	// Repositories whose blobs can be mounted into every repository: a name, `<name>/*` for
	// all names below it, or `*`. Default: none.
	Mount []string `json:"mount,omitempty"`

	// How many bytes a blob may have. Default: any number.
	MaxBlob int64 `json:"max_blob,omitempty"`

	// How many uploads there may be at once, begun and not finished. An upload that no
	// client continues is removed after a day. Default: `1024`.
	Uploads int `json:"uploads,omitempty"`

	// How long a registry that follows the root's IPNS name may take to see a change: the
	// TTL of the IPNS record, from a second to a day. The store remembers it. Default: the
	// value that the store remembers, at first a minute.
	TTL caddy.Duration `json:"ttl,omitempty"`
}

const (
	minTTL = time.Second
	maxTTL = 24 * time.Hour // half of the life of a record
)

func isTTL(d time.Duration) bool { return d >= minTTL && d <= maxTTL }

// provisionPush returns the options of the protocol, nil if clients cannot push.
func (h *Handler) provisionPush(ctx caddy.Context) (*registry.Push, error) {
	if !h.hasOwnRoot() {
		return nil, nil
	}
	own, err := h.ownStore()
	if err != nil {
		return nil, err
	}
	h.own = &ownRoot{Root: own.Root(), keep: h.Keep, configured: ctx, logger: h.logger}
	if h.Push == nil {
		return nil, h.own.whenRunning(ctx)
	}
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	h.pushed = pushEvents{ctx, app.(*caddyevents.App)}.emit
	p, err := h.Push.provision(own)
	if err != nil {
		return nil, err
	}
	h.tellWhoPushes()
	h.own.repositories, h.own.ttl = p.To, h.Push.TTL
	return p, h.own.whenRunning(ctx)
}

// ownStore returns the store whose own root is served.
func (h *Handler) ownStore() (*store.Store, error) {
	dir, err := h.Store.writable()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(h.stores, func(s *store.Store) bool { return s.Dir() == dir })
	if at < 0 {
		return nil, fmt.Errorf("there is no store in %s", dir)
	}
	return h.stores[at], nil
}

func (p *Push) provision(own *store.Store) (*registry.Push, error) {
	for _, pattern := range p.Mount {
		if err := registry.CheckPattern(pattern); err != nil {
			return nil, fmt.Errorf("mount: %w", err)
		}
	}
	turns := registry.DefaultTurns
	if p.Uploads > 0 {
		turns = min(turns, p.Uploads)
	}
	return &registry.Push{
		To:        repository.New(own, repository.Config{MaxBlob: p.MaxBlob, MaxUploads: p.Uploads}),
		Anonymous: p.Anonymous, Mount: p.Mount, MaxBlob: p.MaxBlob,
		Turns: make(chan struct{}, turns),
	}, nil
}

// tellWhoPushes tells the log who may push.
func (h *Handler) tellWhoPushes() {
	if h.Push.Anonymous {
		h.logger.Warn("everybody who reaches this site can push images to it: 'push' is 'anonymous'")
		return
	}
	h.logger.Info("clients that are authenticated can push images")
}

// validatePush checks that the options fit together.
func (h *Handler) validatePush() error {
	switch {
	case h.Keep != 0 && !h.hasOwnRoot():
		return errors.New("'keep' is about the store's own root, and nothing serves it: configure 'push' or 'root' without an address, or remove 'keep'")
	case h.Push == nil:
		return nil
	case h.Root != nil && h.Root.Address != "":
		return fmt.Errorf("'push' puts images into the store's own root, and plain names cannot mean %s as well: remove the address after 'root', or 'push'", h.Root.Address)
	case h.Push.MaxBlob < 0:
		return fmt.Errorf("max_blob of %d bytes: give a positive number", h.Push.MaxBlob)
	case h.Push.Uploads < 0:
		return fmt.Errorf("%d uploads: give a positive number", h.Push.Uploads)
	case h.Push.TTL != 0 && !isTTL(time.Duration(h.Push.TTL)):
		return fmt.Errorf("ttl of %s: give a duration from %s to %s", time.Duration(h.Push.TTL), minTTL, maxTTL)
	}
	return nil
}

// userOf returns the user that Caddy has authenticated, empty for none.
func userOf(replacer *caddy.Replacer, r *http.Request) string {
	if user, ok := replacer.GetString("http.auth.user.id"); ok && user != "" {
		return user
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return r.TLS.PeerCertificates[0].Subject.String()
	}
	return ""
}

// eventPushed is the event that a client has pushed a manifest.
const eventPushed = "ipfs_registry.pushed"

// pushEvents emits events about what is pushed.
type pushEvents struct {
	ctx    caddy.Context
	events *caddyevents.App
}

// emit is the registry.Hooks.Pushed.
func (e pushEvents) emit(p registry.Pushed) {
	e.events.Emit(e.ctx, eventPushed, map[string]any{
		"repository": p.Repository,
		"tags":       p.Tags,
		"digest":     p.Digest.String(),
		"media_type": p.MediaType,
		"address":    p.Address.String(),
		"root":       p.State.String(),
		"user":       p.User,
	})
}

func (h *Handler) unmarshalPush(d *caddyfile.Dispenser) error {
	if h.Push != nil {
		return d.Err("push already specified")
	}
	h.Push = new(Push)
	if d.NextArg() {
		return d.Errf("push has no arguments: write 'push {', then '%s' on a line of its own, then '}'", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "anonymous":
			err = h.Push.unmarshalAnonymous(d)
		case "mount":
			err = h.Push.unmarshalMount(d)
		case "max_blob":
			err = h.Push.unmarshalMaxBlob(d)
		case "uploads":
			err = h.Push.unmarshalUploads(d)
		case "ttl":
			err = h.Push.unmarshalTTL(d)
		default:
			err = d.Errf("unrecognized push subdirective '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Push) unmarshalAnonymous(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	p.Anonymous = true
	return nil
}

func (p *Push) unmarshalMount(d *caddyfile.Dispenser) error {
	patterns := d.RemainingArgs()
	if len(patterns) == 0 {
		return d.ArgErr()
	}
	for _, pattern := range patterns {
		if err := registry.CheckPattern(pattern); err != nil {
			return d.Errf("invalid mount: %v", err)
		}
	}
	p.Mount = append(p.Mount, patterns...)
	return nil
}

func (p *Push) unmarshalMaxBlob(d *caddyfile.Dispenser) (err error) {
	if p.MaxBlob != 0 {
		return d.Err("max_blob already specified")
	}
	p.MaxBlob, err = sizeArg(d, 1, "a size, such as 10GiB")
	return err
}

func (p *Push) unmarshalUploads(d *caddyfile.Dispenser) error {
	if p.Uploads != 0 {
		return d.Err("uploads already specified")
	}
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	n, err := strconv.ParseUint(arg, 10, 20)
	if err != nil || n == 0 {
		return d.Errf("invalid uploads '%s': write how many uploads there may be at once, such as 100", arg)
	}
	p.Uploads = int(n)
	return nil
}

func (p *Push) unmarshalTTL(d *caddyfile.Dispenser) error {
	if p.TTL != 0 {
		return d.Err("ttl already specified")
	}
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	ttl, err := caddy.ParseDuration(arg)
	if err != nil || !isTTL(ttl) {
		return d.Errf("invalid ttl '%s': write a duration from %s to 24h, such as 30s", arg, minTTL)
	}
	p.TTL = caddy.Duration(ttl)
	return nil
}

func (h *Handler) unmarshalKeep(d *caddyfile.Dispenser) error {
	if h.Keep != 0 {
		return d.Err("keep already specified")
	}
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	if arg == turnedOff {
		h.Keep = -1
		return nil
	}
	keep, err := caddy.ParseDuration(arg)
	if err != nil || keep <= 0 {
		return d.Errf("invalid keep '%s': write a duration, such as 30d, or '%s'", arg, turnedOff)
	}
	h.Keep = caddy.Duration(keep)
	return nil
}
