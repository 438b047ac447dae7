package caddymodule

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("ipfs_registry", parseCaddyfile)
	// The handler answers only /v2, so the handlers for the rest of a site come after it.
	httpcaddyfile.RegisterDirectiveOrder("ipfs_registry", httpcaddyfile.Before, "respond")
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return handler, nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	ipfs_registry [<matcher>] [<gateways...>] {
//	    gateway <upstreams...> {
//	        header <name> <value>
//	        transport http {
//	            ...
//	        }
//	    }
//	    store [<directory>] {
//	        max_size <size> | off
//	        min_free <size> | off
//	    }
//	    prefetch <number> | off
//	    blobs proxy | redirect [<gateway>]
//	    names {
//	        ipns
//	        dnslink <domains...>
//	        resolver <address>
//	    }
//	    root [<cid or name>] {
//	        for <registry hosts...>
//	    }
//	    push {
//	        anonymous
//	        mount <patterns...>
//	        max_blob <size>
//	        uploads <number>
//	        ttl <duration>
//	    }
//	    provide
//	    keep <duration> | off
//	    catalog
//	    deny <files...>
//	    allow <files...>
//	    private <headers...>
//	    memory <size>
//	}
//
// Gateways after the directive form the first group, asked before those in the block.
// The transport is the http transport of the reverse_proxy directive. With neither
// gateways nor a store, images are served from the converter's default store.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if gateways := d.RemainingArgs(); len(gateways) > 0 {
		g, err := newGateway(d, gateways)
		if err != nil {
			return err
		}
		h.Gateways = append(h.Gateways, g)
	}
	for d.NextBlock(0) {
		var err error
		switch d.Val() {
		case "gateway":
			err = h.unmarshalGateway(d)
		case "store":
			err = h.unmarshalStore(d)
		case "prefetch":
			err = h.unmarshalPrefetch(d)
		case "blobs":
			err = h.unmarshalBlobs(d)
		case "trust":
			err = refuseTrust(d)
		case "names":
			err = h.unmarshalNames(d)
		case "root":
			err = h.unmarshalRoot(d)
		case "push":
			err = h.unmarshalPush(d)
		case "provide":
			err = h.unmarshalProvide(d)
		case "keep":
			err = h.unmarshalKeep(d)
		case "catalog":
			err = h.unmarshalCatalog(d)
		case "deny":
			err = unmarshalFiles(d, &h.Deny)
		case "allow":
			err = unmarshalFiles(d, &h.Allow)
		case "private":
			err = h.unmarshalPrivate(d)
		case "memory":
			err = h.unmarshalMemory(d)
		default:
			err = d.Errf("unrecognized subdirective '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalGateway(d *caddyfile.Dispenser) error {
	g, err := newGateway(d, d.RemainingArgs())
	if err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "header":
			if err := g.unmarshalHeader(d); err != nil {
				return err
			}
		case "transport":
			if err := g.unmarshalTransport(d); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized gateway subdirective '%s'", d.Val())
		}
	}
	h.Gateways = append(h.Gateways, g)
	return nil
}

func newGateway(d *caddyfile.Dispenser, upstreams []string) (*Gateway, error) {
	if len(upstreams) == 0 {
		return nil, d.ArgErr()
	}
	for _, s := range upstreams {
		if err := checkUpstream(s); err != nil {
			return nil, d.Errf("invalid gateway: %v", err)
		}
	}
	return &Gateway{Upstreams: upstreams}, nil
}

func (g *Gateway) unmarshalHeader(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.ArgErr()
	}
	if err := checkHeaderName(name); err != nil {
		return d.WrapErr(err)
	}
	if _, twice := g.Headers[http.CanonicalHeaderKey(name)]; twice {
		return d.Errf("header %s already specified", name)
	}
	if g.Headers == nil {
		g.Headers = map[string]string{}
	}
	g.Headers[http.CanonicalHeaderKey(name)] = value
	return nil
}

func (g *Gateway) unmarshalTransport(d *caddyfile.Dispenser) error {
	if g.TransportRaw != nil {
		return d.Err("transport already specified")
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	if d.Val() != protocol {
		return d.Errf("unknown transport '%s': gateways support only '%s'", d.Val(), protocol)
	}
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport."+protocol)
	if err != nil {
		return err
	}
	g.TransportRaw = caddyconfig.JSONModuleObject(module, "protocol", protocol, nil)
	return nil
}

func (h *Handler) unmarshalStore(d *caddyfile.Dispenser) error {
	if h.Store != nil {
		return d.Err("store already specified")
	}
	h.Store = new(Store)
	args := d.RemainingArgs()
	switch len(args) {
	case 0:
	case 1:
		h.Store.Directory = args[0]
	default:
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "max_size":
			err = unmarshalSize(d, &h.Store.MaxSize, "10GiB")
		case "min_free":
			err = unmarshalSize(d, &h.Store.MinFree, "1GiB")
		default:
			err = d.Errf("unrecognized store subdirective '%s'", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// turnedOff stands in place of a number.
const turnedOff = "off"

// unmarshalSize reads the size of a store's option; turnedOff gives a negative size.
func unmarshalSize(d *caddyfile.Dispenser, size *int64, example string) error {
	option := d.Val()
	if *size != 0 {
		return d.Errf("%s already specified", option)
	}
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	if arg == turnedOff {
		*size = -1
		return nil
	}
	n, err := humanize.ParseBytes(arg)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return d.Errf("invalid %s '%s': write a size, such as %s, or '%s'", option, arg, example, turnedOff)
	}
	*size = int64(n)
	return nil
}

func (h *Handler) unmarshalPrefetch(d *caddyfile.Dispenser) error {
	if h.Prefetch != 0 {
		return d.Err("prefetch already specified")
	}
	var arg string
	if !d.AllArgs(&arg) {
		return d.ArgErr()
	}
	if arg == turnedOff {
		h.Prefetch = -1
		return nil
	}
	n, err := strconv.ParseUint(arg, 10, 8)
	if err != nil || n == 0 {
		return d.Errf("invalid prefetch '%s': write the number of blobs to fetch at a time, up to 255, or '%s'", arg, turnedOff)
	}
	h.Prefetch = int(n)
	return nil
}

func (h *Handler) unmarshalBlobs(d *caddyfile.Dispenser) error {
	if h.Blobs != nil {
		return d.Err("blobs already specified")
	}
	h.Blobs = new(Blobs)
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	h.Blobs.Mode, args = args[0], args[1:]
	switch {
	case h.Blobs.Mode == modeProxy && len(args) == 0:
	case h.Blobs.Mode == modeRedirect && len(args) == 0:
	case h.Blobs.Mode == modeRedirect && len(args) == 1:
		h.Blobs.Gateway = args[0]
		if _, err := gateway.ParseUpstream(args[0], "http"); err != nil && !strings.Contains(args[0], "{") {
			return d.Errf("invalid gateway: %v", err)
		}
	case h.Blobs.Mode == modeProxy || h.Blobs.Mode == modeRedirect:
		return d.ArgErr()
	default:
		return d.Errf("unknown mode of blobs '%s': write '%s' or '%s'", h.Blobs.Mode, modeProxy, modeRedirect)
	}
	return nil
}

func (h *Handler) unmarshalCatalog(d *caddyfile.Dispenser) error {
	if h.Catalog {
		return d.Err("catalog already specified")
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	h.Catalog = true
	return nil
}

func (h *Handler) unmarshalPrivate(d *caddyfile.Dispenser) error {
	fields := d.RemainingArgs()
	if len(fields) == 0 {
		return d.ArgErr()
	}
	for _, field := range fields {
		if field != everyAnswer && !fieldName.MatchString(field) {
			return d.Errf("invalid private: %q is not the name of a header field", field)
		}
	}
	h.Private = append(h.Private, fields...)
	return nil
}

func (h *Handler) unmarshalMemory(d *caddyfile.Dispenser) (err error) {
	if h.Memory != 0 {
		return d.Err("memory already specified")
	}
	h.Memory, err = sizeArg(d, minMemory, "a size of at least 16MiB, such as 64MiB")
	return err
}

// sizeArg reads the one argument of an option, a size of at least so many bytes.
func sizeArg(d *caddyfile.Dispenser, least uint64, wanted string) (int64, error) {
	option := d.Val()
	var arg string
	if !d.AllArgs(&arg) {
		return 0, d.ArgErr()
	}
	n, err := humanize.ParseBytes(arg)
	if err != nil || n < least || n > math.MaxInt64 {
		return 0, d.Errf("invalid %s '%s': write %s", option, arg, wanted)
	}
	return int64(n), nil
}

// refuseTrust explains what became of the removed option trust.
func refuseTrust(d *caddyfile.Dispenser) error {
	return d.Err("'trust' was removed: gateways are always verified; delete this line")
}

func (h *Handler) unmarshalNames(d *caddyfile.Dispenser) error {
	if h.Names != nil {
		return d.Err("names already specified")
	}
	h.Names = new(Names)
	return h.Names.unmarshal(d)
}

func (h *Handler) unmarshalRoot(d *caddyfile.Dispenser) error {
	if h.Root != nil {
		return d.Err("root already specified")
	}
	h.Root = new(Root)
	return h.Root.unmarshal(d)
}

// unmarshalFiles reads the arguments of deny and allow.
func unmarshalFiles(d *caddyfile.Dispenser, files *[]string) error {
	more := d.RemainingArgs()
	if len(more) == 0 {
		return d.ArgErr()
	}
	*files = append(*files, more...)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
