package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

// resolve returns what a name resolves to. Its error is a *protocolError or a *Failure.
func (g *Registry) resolve(ctx context.Context, n names.Name) (names.Resolved, error) {
	ctx, end := g.Hooks.Resolving(ctx, "ipns", n.String())
	found, err := g.lookUp(ctx, n)
	end(err)
	g.Hooks.NameResolved(err)
	if refused, ok := errors.AsType[*names.NotAllowedError](err); ok {
		return names.Resolved{}, notAllowed(refused.Name)
	}
	if failed, ok := errors.AsType[*names.LookupError](err); ok && ctx.Err() == nil {
		return names.Resolved{}, lookupFailure(err, failed)
	}
	if err != nil {
		return names.Resolved{}, g.answerTo(request{}, err, &protocolError{codeNameUnknown, err.Error()})
	}
	return found, nil
}

// lookUp asks the resolver. Its error is an *images.Error.
func (g *Registry) lookUp(ctx context.Context, n names.Name) (found names.Resolved, err error) {
	err = &names.NotAllowedError{Name: n}
	if g.Resolver != nil {
		found, err = g.Resolver.Resolve(ctx, n)
	}
	if err == nil {
		return found, nil
	}
	_, refused := errors.AsType[*names.NotAllowedError](err)
	_, ofGateways := errors.AsType[gateway.Error](err)
	timeout, ok := errors.AsType[net.Error](err)
	late := errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout()
	switch {
	case ctx.Err() != nil, ofGateways:
		return found, images.Classify(ctx, err)
	case refused, errors.Is(err, fs.ErrNotExist):
		return found, &images.Error{Class: images.Absent, Err: err}
	case late:
		return found, &images.Error{Class: images.Late, Err: err}
	}
	return found, &images.Error{Class: images.Unavailable, Err: err}
}

// lookupFailure is the answer to a failed DNS query. It names the DNS server and the
// cause, since the gateways have nothing to do with it.
func lookupFailure(err error, failed *names.LookupError) error {
	status := http.StatusBadGateway
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		status = http.StatusGatewayTimeout
	}
	return &Failure{Status: status, Err: err, code: nameUnavailable, message: failed.Error()}
}

// notAllowed is the answer that says which option would allow a name.
func notAllowed(n names.Name) error {
	option, what := "ipns", "IPNS keys"
	if n.Domain() != "" {
		option, what = "dnslink "+n.Domain(), "this domain"
	}
	return &protocolError{codeNameUnknown, fmt.Sprintf("%s: this registry does not serve images by %s; its option `names { %s }` would allow it", n, what, option)}
}
