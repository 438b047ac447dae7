package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/registry"
)

// Each request is counted once, with the result that its client saw.
func TestResults(t *testing.T) {
	status := func(code int) func(http.ResponseWriter) error {
		return func(w http.ResponseWriter) error {
			w.WriteHeader(code)
			return nil
		}
	}
	half := func(w http.ResponseWriter) error {
		w.Header().Set("Content-Length", "4")
		_, err := io.WriteString(w, "ha")
		return err
	}
	cut := func(w http.ResponseWriter) error {
		_ = half(w)
		panic(http.ErrAbortHandler)
	}
	failed := func(err error) func(http.ResponseWriter) error { return func(http.ResponseWriter) error { return err } }
	for _, test := range []struct {
		method string
		left   bool // whether the client leaves before the answer
		answer func(http.ResponseWriter) error
		want   string
	}{
		{"GET", false, failed(nil), resultOK},
		{"GET", false, status(206), resultOK},
		{"GET", false, status(304), resultNotModified},
		{"GET", false, status(307), resultRedirected},
		{"GET", false, status(404), resultNotFound},
		{"GET", false, status(403), resultDenied},
		{"GET", false, status(410), resultDenied},
		{"GET", false, status(451), resultDenied},
		{"PUT", false, status(405), resultReadOnly},
		{"GET", false, status(400), resultBadRequest},
		{"GET", false, status(416), resultBadRequest},
		{"GET", false, failed(caddyhttp.Error(502, errors.New("x"))), resultGatewayError},
		{"GET", false, failed(caddyhttp.Error(504, errors.New("x"))), resultGatewayError},
		{"GET", false, failed(caddyhttp.Error(429, errors.New("x"))), resultGatewayError},
		{"GET", false, failed(caddyhttp.Error(503, errors.New("x"))), resultGatewayError},
		{"GET", true, failed(caddyhttp.Error(registry.StatusClientClosedRequest, errors.New("x"))), resultClientClosed},
		{"GET", false, failed(caddyhttp.Error(500, errors.New("x"))), resultError},
		{"GET", false, failed(errors.New("x")), resultError},
		{"GET", false, half, resultCutOff},
		{"GET", true, half, resultClientClosed},
		{"HEAD", false, half, resultOK},
		{"GET", false, cut, resultCutOff},
		{"GET", true, cut, resultClientClosed},
	} {
		ctx, leave := context.WithCancel(context.WithValue(t.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
		before := counted(t)
		func() {
			defer func() { _ = recover() }()
			o := observe(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, test.method, "/v2/", nil))
			var err error
			returned := false
			defer func() { o.end(err, returned) }()
			if test.left {
				leave()
			}
			err = test.answer(o)
			returned = true
		}()
		leave()
		for result, n := range counted(t) {
			want := before[result]
			if result == test.want {
				want++
			}
			if n != want {
				t.Errorf("%+v: %v more are %s", test, n-before[result], result)
			}
		}
	}
}

// counted returns how many requests had each result.
func counted(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	r := prometheus.NewPedanticRegistry()
	if err := registerMetrics(r, gauges{}); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "caddy_ipfs_registry_requests_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if label.GetName() == "result" {
					all[label.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return all
}
