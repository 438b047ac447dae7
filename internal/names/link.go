package names

import "time"

// retryInterval is how long a link is used after a failed look-up before the next one.
const retryInterval = 30 * time.Second

// A link is what a name stands for, and for how long.
type link struct {
	target
	literal bool // as in a record

	fresh time.Time // end of the time without another look-up
	valid time.Time // end of the time in which it may be used if look-ups fail
}

// stale returns the link as it is used after a failed look-up.
func (l link) stale() link {
	l.fresh = earlier(time.Now().Add(retryInterval), l.valid)
	return l
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
