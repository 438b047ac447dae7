package fill

import (
	"context"
	"errors"
	"time"
)

// run takes the fill through its phases. In the end, the blob is in the cache if it is
// complete. If the gateways failed, its leaves stay for the next fill of the same file.
// In all other cases, nothing of it is left in the cache.
func (fl *fill) run(fromStart bool) {
	defer close(fl.ended)
	defer fl.cancel()
	if fl.slots != nil {
		defer fl.list.notAhead()
	}
	err := fl.find(fromStart)
	if err == nil && fl.now() == following {
		err = fl.follow()
	}
	if err == nil && fl.partial != nil {
		err = fl.complete()
	}
	if err != nil && fl.ctx.Err() != nil && !errors.Is(err, ErrDigest) {
		err = passedBy{err} // the fill was ended, and no gateway failed
	}
	if err != nil {
		fl.finish(err)
	}
	fl.cancel()
	fl.streams.Wait()
	if isFailure(err) && fl.partial != nil {
		fl.stay()
	}
	fl.close()
}

// isFailure reports whether a fill ended because no gateway could go on.
func isFailure(err error) bool {
	_, passed := errors.AsType[passedBy](err)
	return err != nil && !passed && !errors.Is(err, ErrDigest)
}

// lastRead is how long a fill that failed waits for its readers to notice.
const lastRead = time.Second

// stay leaves the verified leaves to the next fill of the same file, once no reader
// has the file open.
func (fl *fill) stay() {
	ctx, cancel := context.WithTimeout(context.Background(), lastRead)
	defer cancel()
	_ = fl.wait(ctx, func() bool { return fl.readers == 0 })
	fl.partial.Stay()
}

// close gives back what the fill holds, and reports how it ended.
func (fl *fill) close() {
	fl.mu.Lock()
	fl.goOn()
	fl.isOver = true
	fl.giveTables()
	fl.unreserve()
	err, target := fl.err, fl.target
	fl.mu.Unlock()
	fl.reportOutcome(err)
	if fl.partial != nil {
		_ = fl.partial.Close() // a file that stays is removed by a later process
	}
	fl.list.forget(fl)
	if target != nil {
		target.leave()
	}
}

func (fl *fill) reportOutcome(err error) {
	if fl.partial == nil || fl.config.Ended == nil {
		return
	}
	o := Outcome{Result: Unwritten, Fetched: fl.fetched.Load(), Copied: fl.copied.Load()}
	switch {
	case err == nil && fl.kept:
		o.Result = Kept
	case errors.Is(err, ErrDigest):
		o.Result = FalseDigest
	case errors.Is(err, context.Canceled):
		o.Result = GivenUp
	case isFailure(err):
		o.Result = Failed
	}
	fl.config.Ended(o)
}
