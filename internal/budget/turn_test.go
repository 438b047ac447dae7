package budget

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurnsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const large = small + 1
		var all []func()
		for range cap(turns()) {
			done, err := Turn(t.Context(), large)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, done)
		}
		if done, err := Turn(t.Context(), small); err != nil {
			t.Errorf("a few bytes need no turn: %v", err)
		} else {
			done()
		}
		began := time.Now()
		if _, err := Turn(t.Context(), large); !errors.Is(err, ErrFull) || time.Since(began) != Wait {
			t.Errorf("%v after %v, while all turns are taken", err, time.Since(began))
		}
		left := errors.New("the client left")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(left)
		if _, err := Turn(ctx, large); !errors.Is(err, left) {
			t.Errorf("%v for a client that left", err)
		}
		for _, done := range all {
			go func() {
				time.Sleep(Wait / 2)
				done()
			}()
		}
		done, err := Turn(t.Context(), large)
		if err != nil {
			t.Fatalf("%v, though a turn ended in time", err)
		}
		done()
		time.Sleep(Wait)
	})
}
