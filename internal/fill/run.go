package fill

import (
	"context"
	"errors"
)

// run takes the fill through its phases. In the end, the blob is in the cache if it is
// complete, and nothing of it is left there otherwise.
func (fl *fill) run(fromStart bool) {
	defer close(fl.ended)
	defer fl.cancel()
	if fl.slots != nil {
		defer fl.list.notAhead()
	}
	err := fl.find(fromStart)
	switch {
	case err != nil:
	case fl.partial != nil:
		err = fl.complete()
	case fl.now() == following:
		err = fl.follow()
	}
	if err != nil && fl.ctx.Err() != nil && !errors.Is(err, ErrDigest) {
		err = passedBy{err} // the fill was ended, and no gateway failed
	}
	if err != nil {
		fl.finish(err)
	}
	fl.cancel()
	fl.streams.Wait()
	fl.close()
}

// close gives back what the fill holds, and reports how it ended.
func (fl *fill) close() {
	fl.mu.Lock()
	fl.goOn()
	fl.isOver = true
	fl.giveTables()
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
	_, passed := errors.AsType[passedBy](err)
	switch {
	case err == nil && fl.kept:
		o.Result = Kept
	case errors.Is(err, ErrDigest):
		o.Result = FalseDigest
	case errors.Is(err, context.Canceled):
		o.Result = GivenUp
	case err != nil && !passed:
		o.Result = Failed
	}
	fl.config.Ended(o)
}
