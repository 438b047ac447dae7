package budget

import (
	"testing"
	"testing/synctest"
	"time"
)

// Clients that take documents slowly cannot keep others from theirs.
func TestOldLoansAreRecalledForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(400)
		part := b.Part(4)
		var recalled []int
		for i := range 4 {
			var release func()
			ctx := WithClient(t.Context(), map[bool]string{true: "honest", false: "stranger"}[i == 0])
			release, err := part.Lend(ctx, 25, func() {
				recalled = append(recalled, i)
				release()
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		began := time.Now()
		release, err := part.Take(WithClient(t.Context(), "other"), 25)
		if err != nil || time.Since(began) >= Wait {
			t.Errorf("after %v: %v", time.Since(began), err)
		} else {
			release()
		}
		synctest.Wait()
		if len(recalled) != 1 || recalled[0] != 1 {
			t.Errorf("recalled were %d: want the oldest of the client that holds the most, 1", recalled)
		}
	})
}

// A loan is not recalled if that would not help.
func TestLoansAreNotRecalledInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		release, err := b.Lend(t.Context(), 50, func() { t.Error("a loan was recalled in vain") })
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		kept, _ := b.TryTake(50)
		defer kept()
		if _, err := b.Take(t.Context(), 60); err == nil {
			t.Error("100 bytes gave 160")
		}
	})
}
