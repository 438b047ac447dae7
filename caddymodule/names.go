package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// Names configures names, whose meaning can change, in place of addresses:
//
//	docker pull registry.example.com/ipns/<key or domain>[/<name>][:<tag>]
//
// The IPNS name of the store's own root is always allowed.
//
// Clients may cache a tag under a name for as long as the name's owner says, but at least
// 5 seconds (a second if the name is the root) and at most an hour. A client that began to
// pull an image before a name moved gets the rest of the same image for an hour.
type Names struct {
	// Whether clients may use any IPNS key (`k51…` or `bafz…`). The records of keys come
	// from two gateways, and are verified. The newest record ever seen counts. A store
	// keeps it in its directory `names`, if that is writable.
	IPNS bool `json:"ipns,omitempty"`

	// The domains that clients may use, without their subdomains. A domain resolves by
	// its DNSLink: a TXT record of `_dnslink.<domain>` such as `dnslink=/ipfs/<cid>`. It
	// is only as trustworthy as the path to the DNS server. It is looked up again every
	// minute. A DNSLink that names an IPNS key is followed even if `ipns` is off.
	DNSLink []string `json:"dnslink,omitempty"`

	// The address of the DNS server for DNSLinks, with port `53` if it names none.
	// Default: the servers that this machine uses.
	Resolver string `json:"resolver,omitempty"`
}

// newResolver returns the resolver of names, or nil if neither the options nor the root
// use names. It keeps the records of keys below dir, unless dir is empty.
func newResolver(n *Names, root *registry.Root, pool *gateway.Pool, dir string, logger *zap.Logger) (*names.Resolver, error) {
	if n == nil {
		if !root.IsName() {
			return nil, nil
		}
		n = new(Names)
	}
	config := names.Config{
		Keys: n.IPNS, Domains: n.DNSLink, Pool: pool,
		Failed: func(n names.Name, err error) { logName(logger, n, err) },
	}
	if root.IsName() {
		config.Others = []names.Name{root.Name}
	}
	if dir != "" {
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

func (n *Names) validate(gateways bool, root *registry.Root) error {
	switch {
	case root.IsName() && root.Name.Domain() == "" && !gateways:
		return fmt.Errorf("the root %s is an IPNS key, whose records come from gateways: configure a gateway", root.Name)
	case n == nil:
		return nil
	case !n.IPNS && len(n.DNSLink) == 0 && !root.IsName():
		return errors.New("names has neither 'ipns' nor 'dnslink': configure at least one of them")
	case n.IPNS && !gateways:
		return errors.New("'ipns' needs a gateway to fetch records from: configure a gateway")
	}
	return nil
}

func (n *Names) unmarshal(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "ipns":
			if d.NextArg() {
				return d.ArgErr()
			}
			n.IPNS = true
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
			n.DNSLink = append(n.DNSLink, domains...)
		case "resolver":
			if n.Resolver != "" {
				return d.Err("resolver already specified")
			}
			if !d.AllArgs(&n.Resolver) {
				return d.ArgErr()
			}
			if _, err := names.ParseServer(n.Resolver); err != nil {
				return d.Errf("invalid resolver: %v", err)
			}
		default:
			return d.Errf("unrecognized names subdirective '%s'", d.Val())
		}
	}
	return nil
}

// logName logs an error of resolving a name.
func logName(logger *zap.Logger, n names.Name, err error) {
	level, fields := zap.WarnLevel, []zap.Field{zap.Stringer("ipns", n), zap.Error(err)}
	if f, ok := errors.AsType[gateway.Failure](err); ok {
		fields = []zap.Field{fields[0], zap.String("gateway", f.Gateway), zap.Error(f.Err)}
		if !f.Strike {
			level = zap.DebugLevel
		}
	}
	if failed, ok := errors.AsType[*net.DNSError](err); ok && failed.Server != "" {
		fields = append(fields, zap.String("resolver", failed.Server))
	}
	if c := logger.Check(level, "trouble with a name"); c != nil {
		c.Write(fields...)
	}
}
