package gateway

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// That nothing came back is known of a gateway until something does, though it is
// held against none where all are so.
func TestAway(t *testing.T) {
	var away bool
	pool := NewPool(Config{Groups: []Group{{Upstreams: []*url.URL{upstream(0)}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		if away {
			return nil, errors.New("connection refused")
		}
		return status(http.StatusNotFound).RoundTrip(r)
	})}}})
	for _, away = range []bool{true, false, true} {
		if err := pool.Do(t.Context(), want("something")); err == nil {
			t.Error("there was something")
		}
		if s := pool.States()[0]; s.Away != away {
			t.Errorf("%+v where it is away: %v", s, away)
		}
	}
}
