package verify

import (
	"context"
	"fmt"
	"path"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// A Fault is one thing that is wrong with an image on IPFS.
type Fault struct {
	Root cid.Cid // undefined if the fault is not below one root
	Path string  // below the root, or of a CAR file; may be empty
	CID  cid.Cid // of what is there; undefined if it is missing
	Err  error
}

// Error names the thing, and says what is wrong with it.
func (f Fault) Error() string {
	at := f.Path
	if f.Root.Defined() {
		at = path.Join(origin.Address(f.Root), f.Path)
	}
	if f.CID.Defined() && at != f.CID.String() {
		at += " (" + f.CID.String() + ")"
	}
	return at + ": " + f.Err.Error()
}

func (f Fault) Unwrap() error { return f.Err }

// maxFaults is how many faults are reported.
const maxFaults = 100

// ErrFaults is the error after maxFaults faults. There may be more.
var ErrFaults = fmt.Errorf("stopped after %d faults", maxFaults)

// A reporter reports faults and counts them.
type reporter struct {
	mu     sync.Mutex
	report func(Fault)
	faults int
}

// fault reports a fault, unless the context is done, which may be its only reason.
// After maxFaults faults it cancels.
func (r *reporter) fault(ctx context.Context, cancel context.CancelCauseFunc, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	r.report(f)
	if r.faults++; r.faults >= maxFaults {
		cancel(ErrFaults)
	}
}

// Faults returns how many faults there were.
func (r *reporter) Faults() int { return r.faults }
