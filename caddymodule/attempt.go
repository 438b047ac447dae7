package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// The spans of a request, below the span of Caddy's tracing handler.
const (
	spanResolve = "ipfs_registry.resolve" // the look-up of a name or a reference
	spanFetch   = "ipfs_registry.fetch"   // one attempt at one gateway
	spanVerify  = "ipfs_registry.verify"  // the part of a fetch that reads and verifies the answer
)

// attributes is the prefix of the module's span attributes.
const attributes = "ipfs_registry."

// startSpan starts a span below the span of ctx, if that one is recorded.
func startSpan(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noop.Span{}
	}
	tracer := parent.TracerProvider().Tracer("github.com/seed-9e24ebb9/caddy-ipfs-registry")
	return tracer.Start(ctx, name, trace.WithAttributes(attrs...))
}

// endSpan ends a span. A client that left does not count as an error.
func endSpan(ctx context.Context, span trace.Span, err error) {
	if err != nil && ctx.Err() == nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// resolving starts the span of looking up a name or a reference. It is the
// registry.Hooks.Resolving.
func resolving(ctx context.Context, key, value string) (_ context.Context, end func(error)) {
	ctx, span := startSpan(ctx, spanResolve, attribute.String(attributes+key, value))
	return ctx, func(err error) { endSpan(ctx, span, err) }
}

// eventVerificationFailed is the event that a gateway's answer failed verification.
const eventVerificationFailed = "ipfs_registry.verification_failed"

// attempts measures, counts and traces the attempts at gateways, and emits events about
// them.
type attempts struct {
	ctx    caddy.Context
	events *caddyevents.App
}

// An attempt is one attempt at one gateway, as a gateway.Attempt.
type attempt struct {
	attempts
	ctx      context.Context
	gateway  string
	exchange gateway.Exchange
	began    time.Time
	fetch    trace.Span
	verify   trace.Span // nil until verification begins
}

// begin is the gateway.Observer.
func (a attempts) begin(ctx context.Context, name string, x gateway.Exchange) (context.Context, gateway.Attempt) {
	ctx, span := startSpan(ctx, spanFetch,
		attribute.String(attributes+"gateway", name),
		attribute.String(attributes+"path", x.Path),
		attribute.Stringer(attributes+"format", x.Format))
	return ctx, &attempt{attempts: a, ctx: ctx, gateway: name, exchange: x, began: time.Now(), fetch: span}
}

// Answered implements gateway.Attempt.
func (a *attempt) Answered(status int) {
	metrics.gatewayLatency.WithLabelValues(a.gateway).Observe(time.Since(a.began).Seconds())
	a.fetch.SetAttributes(attribute.Int("http.response.status_code", status))
	if status < http.StatusMultipleChoices {
		_, a.verify = startSpan(a.ctx, spanVerify)
	}
}

// Ended implements gateway.Attempt.
func (a *attempt) Ended(failed *gateway.Failure) {
	var err error
	if failed != nil {
		err = failed.Err
	}
	if a.verify != nil {
		endSpan(a.ctx, a.verify, err)
	}
	endSpan(a.ctx, a.fetch, err)
	if errors.Is(err, trustless.ErrMismatch) || errors.Is(err, ipns.ErrForged) {
		metrics.verificationFailures.WithLabelValues(a.gateway).Inc()
		a.emitVerificationFailed(err)
	}
	metrics.gatewayRequests.WithLabelValues(a.gateway, a.result(failed)).Inc()
}

func (a *attempt) result(failed *gateway.Failure) string {
	switch {
	case failed == nil:
		return resultOK
	case a.ctx.Err() != nil:
		return resultClientClosed
	case failed.Strike:
		return "failed"
	}
	return "declined"
}

func (a *attempt) emitVerificationFailed(err error) {
	data := map[string]any{"gateway": a.gateway, "error": err.Error()}
	namespace, rest, _ := strings.Cut(a.exchange.Path, "/")
	root, path, _ := strings.Cut(rest, "/")
	if namespace == "ipfs" {
		data["cid"], data["path"] = root, path
	} else {
		data["ipns"] = root
	}
	a.events.Emit(a.attempts.ctx, eventVerificationFailed, data)
}
