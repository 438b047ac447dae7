package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Names says which names, whose meaning can change, images may be asked for by:
//
//	docker pull registry.example.com/ipns/<key or domain>[/<name>][:<tag>]
//
// What a tag is under a name may be cached for as long as the name's owner says,
// though at least 5 seconds and at most an hour. Who began to pull an image before
// a name moved gets the rest of the same image, for an hour.
type Names struct {
	// Whether images may be asked for by IPNS keys (`k51…` or `bafz…`), whoever's
	// they are. Their records come from the gateways, two of which are asked, and
	// are verified. The newest that was ever seen is believed; with a store, that
	// is remembered in its directory `names`, if that can be written to.
	IPNS bool `json:"ipns,omitempty"`

	// The domains that images may be asked for by, subdomains not included. What a
	// domain stands for is said by its DNSLink, a TXT record of
	// `_dnslink.<domain>` such as `dnslink=/ipfs/<cid>`, which is as safe as the way
	// to the DNS server. It is asked for again every minute. One that names an IPNS
	// key is followed, whether or not others may be asked for.
	DNSLink []string `json:"dnslink,omitempty"`

	// The address of the DNS server to ask for DNSLinks. Its port is `53` unless
	// stated. Default: those that this machine asks.
	Resolver string `json:"resolver,omitempty"`
}

// provisionNames sets up what the names are resolved by, if there are any.
func (h *Handler) provisionNames() error {
	n := h.Names
	if n == nil {
		if !h.root.isName() {
			return nil
		}
		n = new(Names)
	}
	var err error
	h.resolver, err = n.provision(h)
	return err
}

func (n *Names) provision(h *Handler) (*names.Resolver, error) {
	config := names.Config{Keys: n.IPNS, Domains: n.DNSLink, Pool: h.pool, Failed: h.logName}
	if h.root.isName() {
		config.Others = []names.Name{h.root.name}
	}
	if h.Store != nil {
		dir, err := h.Store.writable()
		if err != nil {
			return nil, err
		}
		config.Dir = filepath.Join(dir, "names")
	}
	if n.Resolver != "" {
		var err error
		if config.Server, err = names.ParseServer(n.Resolver); err != nil {
			return nil, fmt.Errorf("invalid resolver: %w", err)
		}
	}
	return names.New(config)
}

// writable is the directory that the converter would write to.
func (s *Store) writable() (string, error) {
	if s.Directory != "" {
		return s.Directory, nil
	}
	return store.DefaultDir()
}

func (n *Names) validate(gateways bool, root *root) error {
	switch {
	case root.isName() && root.name.Domain() == "" && !gateways:
		return fmt.Errorf("there is no gateway to get the records of the root %s from", root.name)
	case n == nil:
		return nil
	case !n.IPNS && len(n.DNSLink) == 0 && !root.isName():
		return errors.New("names are neither 'ipns' nor 'dnslink': choose what images may be asked for by")
	case n.IPNS && !gateways:
		return errors.New("there is no gateway to get the records of 'ipns' from")
	}
	return nil
}

func (h *Handler) unmarshalNames(d *caddyfile.Dispenser) error {
	if h.Names != nil {
		return d.Err("names already specified")
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	h.Names = new(Names)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "ipns":
			if d.NextArg() {
				return d.ArgErr()
			}
			h.Names.IPNS = true
		case "dnslink":
			domains := d.RemainingArgs()
			if len(domains) == 0 {
				return d.ArgErr()
			}
			for _, domain := range domains {
				if err := names.CheckDomain(domain); err != nil {
					return d.Errf("invalid dnslink: %v", err)
				}
			}
			h.Names.DNSLink = append(h.Names.DNSLink, domains...)
		case "resolver":
			if h.Names.Resolver != "" {
				return d.Err("resolver already specified")
			}
			if !d.AllArgs(&h.Names.Resolver) {
				return d.ArgErr()
			}
			if _, err := names.ParseServer(h.Names.Resolver); err != nil {
				return d.Errf("invalid resolver: %v", err)
			}
		default:
			return d.Errf("unrecognized names subdirective '%s'", d.Val())
		}
	}
	return nil
}

// parseRepository reads a repository: below a CID, below a name, which is
// resolved later, or else what ns has of that name.
func parseRepository(repository string, ns namespace) (request, error) {
	if ns.knows(repository) {
		return ns.request(repository)
	}
	below, isNamed := strings.CutPrefix(repository, "ipns/")
	if !isNamed {
		image, err := parseImage(repository)
		return request{repository: repository, image: image}, err
	}
	if err := checkName(below, repository); err != nil {
		return request{}, err
	}
	first, rest, _ := strings.Cut(below, "/")
	name, err := names.Parse(first)
	if _, content := cidname.Parse(first); content == nil {
		return request{}, &registryError{codeNameUnknown, first + " is no name, but content: leave out ipns/"}
	}
	if err != nil {
		return request{}, &registryError{codeNameUnknown, err.Error()}
	}
	return request{repository: repository, ipns: name, image: layout.Image{Name: rest}}, nil
}

// checkName returns the answer to a name that no image can have, below what it is
// in a repository.
func checkName(name, repository string) error {
	if len(repository) > layout.MaxName {
		return &registryError{codeNameInvalid, fmt.Sprintf("a name of %d characters, longer than %d", len(repository), layout.MaxName)}
	}
	if err := layout.CheckName(name); err != nil {
		return &registryError{codeNameInvalid, err.Error()}
	}
	return nil
}

// isNamed reports whether an image was asked for by a name.
func (q request) isNamed() bool { return q.ipns != names.Name{} }

// through is the request as one by another name that its own leads through.
func (q request) through(s names.Step) request {
	q.ipns, q.image.Name = s.Name, path.Join(s.Path, q.image.Name)
	return q
}

// below is the request for an image in a directory.
func (q request) below(p names.Place) request {
	q.image = layout.Image{Root: p.Root, Name: path.Join(p.Path, q.image.Name)}
	return q
}

// serveNamed answers from what the name stands for. What a client knows the
// digest of, it may know from what the name stood for before.
func (h *Handler) serveNamed(w http.ResponseWriter, r *http.Request, q request) error {
	found, err := h.resolve(r.Context(), q.ipns)
	if err != nil {
		return err
	}
	q.expires = found.Expires
	err = h.serveEnd(w, r, q, found.End)
	for _, before := range found.Before {
		if q.digest == "" || !isNotFound(err) {
			break
		}
		if h.serveEnd(w, r, q, before) == nil {
			return nil
		}
	}
	return err
}

// serveEnd answers from where a name leads to, if the lists say nothing of any
// name on the way there: anybody can make one that leads to what they deny.
func (h *Handler) serveEnd(w http.ResponseWriter, r *http.Request, q request, end names.End) error {
	for _, step := range end.Way {
		if err := h.admitName(q.through(step)); err != nil {
			return err
		}
	}
	q = q.below(end.Place)
	q.seen.is(q)
	return h.serveImage(w, r, q)
}

func isNotFound(err error) bool {
	answer, ok := errors.AsType[*registryError](err)
	return ok && answer.code.status == http.StatusNotFound
}

// resolve finds out what a name stands for.
func (h *Handler) resolve(ctx context.Context, n names.Name) (_ names.Resolved, err error) {
	ctx, end := resolving(ctx, "ipns", n.String())
	defer end(&err)
	defer countName(ctx, &err)
	if h.resolver == nil {
		return names.Resolved{}, notAllowed(n)
	}
	found, err := h.resolver.Resolve(ctx, n)
	if refused, ok := errors.AsType[*names.NotAllowedError](err); ok {
		return names.Resolved{}, notAllowed(refused.Name)
	}
	if err != nil {
		return names.Resolved{}, unresolved(ctx, n, err)
	}
	return found, nil
}

// notAllowed is the answer that says which option would allow a name.
func notAllowed(n names.Name) error {
	option, kind := "ipns", "IPNS keys"
	if n.Domain() != "" {
		option, kind = "dnslink "+n.Domain(), "this domain"
	}
	return &registryError{codeNameUnknown, fmt.Sprintf("%s: %s would have to be allowed by this registry's option `names { %s }`", n, kind, option)}
}

func unresolved(ctx context.Context, n names.Name, err error) error {
	if ctx.Err() == nil && !asked(err) {
		if errors.Is(err, fs.ErrNotExist) {
			return &registryError{codeNameUnknown, err.Error()}
		}
		if late(err) {
			return caddyhttp.Error(http.StatusGatewayTimeout, err)
		}
		return caddyhttp.Error(http.StatusBadGateway, err)
	}
	return unanswered(ctx, err, &registryError{codeNameUnknown, "no gateway has an IPNS record of " + n.String()})
}

func late(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
}

// until is the Cache-Control of what a name stands for.
func until(r *http.Request, expires time.Time) string {
	rest := max(0, time.Until(expires)) / time.Second
	return fmt.Sprintf("%s, max-age=%d, no-transform", scope(r), rest)
}

// logName logs what went wrong while a name was resolved.
func (h *Handler) logName(n names.Name, err error) {
	level, fields := zap.WarnLevel, []zap.Field{zap.Stringer("ipns", n), zap.Error(err)}
	if f, ok := errors.AsType[gateway.Failure](err); ok {
		fields = []zap.Field{fields[0], zap.String("gateway", f.Gateway), zap.Error(f.Err)}
		if !f.Strike {
			level = zap.DebugLevel
		}
	}
	if c := h.logger.Check(level, "trouble with a name"); c != nil {
		c.Write(fields...)
	}
}
