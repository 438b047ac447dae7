package caddymodule

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// The spans of a request, below that of Caddy's tracing handler.
const (
	spanResolve = "ipfs_registry.resolve" // what a name or a reference stands for
	spanFetch   = "ipfs_registry.fetch"   // an attempt to get something from a gateway
	spanVerify  = "ipfs_registry.verify"  // the part of it in which the answer is read and held against its CID
)

// attributes is how the names of ours begin.
const attributes = "ipfs_registry."

// startSpan starts a span below that of ctx, if that is recorded.
func startSpan(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noop.Span{}
	}
	tracer := parent.TracerProvider().Tracer("github.com/seed-9e24ebb9/caddy-ipfs-registry")
	return tracer.Start(ctx, name, trace.WithAttributes(attrs...))
}

// endSpan ends a span. A client that left is no error.
func endSpan(ctx context.Context, span trace.Span, err error) {
	if err != nil && ctx.Err() == nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// resolving starts the span in which it is found out what something stands for.
// It is for `defer end(&err)`.
func resolving(ctx context.Context, key, value string) (_ context.Context, end func(*error)) {
	ctx, span := startSpan(ctx, spanResolve, attribute.String(attributes+key, value))
	return ctx, func(err *error) { endSpan(ctx, span, *err) }
}

// An attempt is the gateway.Attempt that is measured, counted and traced.
type attempt struct {
	handler  *Handler
	ctx      context.Context
	gateway  string
	exchange gateway.Exchange
	began    time.Time
	fetch    trace.Span
	verify   trace.Span // nil until something is verified
}

// attempt is the gateway.Observer.
func (h *Handler) attempt(ctx context.Context, gateway string, x gateway.Exchange) (context.Context, gateway.Attempt) {
	ctx, span := startSpan(ctx, spanFetch,
		attribute.String(attributes+"gateway", gateway),
		attribute.String(attributes+"path", x.Path),
		attribute.Stringer(attributes+"format", x.Format))
	return ctx, &attempt{handler: h, ctx: ctx, gateway: gateway, exchange: x, began: time.Now(), fetch: span}
}

// Answered implements gateway.Attempt.
func (a *attempt) Answered(status int) {
	metrics.gatewayLatency.WithLabelValues(a.gateway).Observe(time.Since(a.began).Seconds())
	a.fetch.SetAttributes(attribute.Int("http.response.status_code", status))
	if a.exchange.Verified && status < http.StatusMultipleChoices {
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
	if isFalse(err) {
		metrics.verificationFailures.WithLabelValues(a.gateway).Inc()
		a.handler.emitVerificationFailed(a.gateway, a.exchange.Path, err)
	}
	switch {
	case failed == nil:
		a.count(resultOK)
	case a.ctx.Err() != nil:
		a.count(resultClientClosed)
	case failed.Strike:
		a.count("failed")
	default:
		a.count("declined")
	}
}

func (a *attempt) count(result string) {
	metrics.gatewayRequests.WithLabelValues(a.gateway, result).Inc()
}

// splitPath splits the path of an exchange, /<namespace>/<root>/<path>.
func splitPath(p string) (namespace, root, path string) {
	namespace, rest, _ := strings.Cut(p, "/")
	root, path, _ = strings.Cut(rest, "/")
	return namespace, root, path
}
