package images

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// Content that all gateways declined is not requested again for a moment. A failure, a
// pause that a gateway asked for, or a client that left does not affect the next request.
func TestDeclinedIsRememberedForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		no := gateway.Failure{Err: errors.New("404 Not Found")}
		for name, test := range map[string]struct {
			ctx        context.Context
			err        error
			remembered bool
		}{
			"all declined":        {t.Context(), gateway.Error{no, no}, true},
			"one failed":          {t.Context(), gateway.Error{no, {Err: no.Err, Strike: true}}, false},
			"one is busy":         {t.Context(), gateway.Error{no, {Err: gateway.BusyError{Status: 429}}}, false},
			"the client left":     {gone, gateway.Error{no}, false},
			"the content is odd":  {t.Context(), errContent, false},
			"there is no failure": {t.Context(), nil, false},
		} {
			m, asked := newDeclinedMemory(), 0
			read := func(at layout.Place) error {
				_, err := ask(test.ctx, m, at, func() (int, error) {
					asked++
					return 0, test.err
				})
				return err
			}
			here, there := layout.Place{Path: "here"}, layout.Place{Path: "there"}
			first, again := read(here), read(here)
			if (asked == 1) != test.remembered || fmt.Sprint(again) != fmt.Sprint(first) {
				t.Errorf("%s: asked %d times, then %v", name, asked, again)
			}
			asked = 0
			read(there)
			time.Sleep(declinedFor)
			read(here)
			if asked != 2 {
				t.Errorf("%s: another place, and later the same, are asked for %d times", name, asked)
			}
		}
	})
}
