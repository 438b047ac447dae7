package names

import "time"

// retry is how long a link is still used after a failed look-up.
const retry = 30 * time.Second

// A link is what a name stands for, and for how long.
type link struct {
	target
	fresh time.Time // until when no look-up is needed
	valid time.Time // until when it may be used if look-ups fail
}

// stale returns the link after a failed look-up: it is used for a while, and then
// looked up again.
func (l link) stale() link {
	l.fresh = earlier(time.Now().Add(retry), l.valid)
	return l
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
