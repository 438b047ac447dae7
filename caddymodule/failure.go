package caddymodule

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// serveFailure answers when neither store nor gateways could. Where a site says
// what is to become of errors, with handle_errors, it is told as by any other
// handler: it may want to ask another registry. Without, Caddy's answer would be
// empty, and those who ask are programs that show their users what a body in the
// protocol's own form says; so that is ours, and so is the log then.
//
// What is wrong may have addresses in it that are no client's business, so that
// is in the log alone.
func (h *Handler) serveFailure(w http.ResponseWriter, r *http.Request, err error) error {
	failed, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok {
		failed = caddyhttp.Error(http.StatusInternalServerError, err)
	}
	if failed.StatusCode == clientClosedRequest || handlesErrors(r, failed) {
		return err
	}
	answer := &registryError{code{"UNKNOWN", failed.StatusCode}, "the registry failed"}
	switch {
	case isContentError(err):
		answer = &registryError{codeUnavailable, "what is at this address is not as it should be, whichever IPFS gateway has it"}
	case failed.StatusCode == http.StatusBadGateway:
		answer = &registryError{codeUnavailable, "no IPFS gateway of this registry could answer"}
	case failed.StatusCode == http.StatusGatewayTimeout:
		answer = &registryError{codeTimeout, "no IPFS gateway of this registry answered in time"}
	}
	answer.message += "; the registry's log says why, under " + failed.ID
	h.logger.Error("request failed", zap.String("err_id", failed.ID), zap.Int("status", failed.StatusCode),
		zap.String("method", r.Method), zap.String("uri", r.RequestURI), zap.Error(failed.Err))
	return answer.write(w, r)
}

// handlesErrors reports whether the site of a request has a route for the error.
func handlesErrors(r *http.Request, err error) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Errors == nil {
		return false
	}
	return handles(server.Errors.Routes, server.Errors.WithError(r, err))
}

// handles reports whether one of the routes does something with the request. All
// sites of a server are routes of one list.
func handles(routes caddyhttp.RouteList, r *http.Request) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool {
		if ok, err := route.MatcherSets.AnyMatchWithError(r); !ok || err != nil {
			return false
		}
		return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
			sub, ok := handler.(*caddyhttp.Subroute)
			return !ok || handles(sub.Routes, r)
		})
	})
}
