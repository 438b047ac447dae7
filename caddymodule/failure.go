package caddymodule

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// answerFailure answers a request that neither store nor gateways could answer. If the
// site has handle_errors, it returns the error as any other handler does: the site may
// want to ask another registry. Otherwise Caddy's answer would be empty. Clients show
// their users a body in the protocol's form, so answerFailure writes one, and logs the
// failure.
//
// The reason may contain internal addresses, so only the log has it.
func answerFailure(w http.ResponseWriter, r *http.Request, failure *registry.Failure, logger *zap.Logger) error {
	failed := caddyhttp.Error(failure.Status, failure.Err)
	if failure.Status == registry.StatusClientClosedRequest || handlesErrors(r, failed) {
		return failed
	}
	logger.Error("request failed", zap.String("err_id", failed.ID), zap.Int("status", failed.StatusCode),
		zap.String("method", r.Method), zap.String("uri", r.RequestURI), zap.Error(failed.Err))
	return failure.Answer(w, r, failed.ID)
}

// handlesErrors reports whether the site of a request has a route for the error.
func handlesErrors(r *http.Request, err error) bool {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.Errors == nil {
		return false
	}
	return handles(server.Errors.Routes, server.Errors.WithError(r, err))
}

// handles reports whether one of the routes handles the request. All sites of a server
// are routes of one list.
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
