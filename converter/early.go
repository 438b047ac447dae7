package converter

import (
	"context"
	"errors"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A streamer is a destination that takes leaves while layers still compress,
// before it is known what they are for.
type streamer interface {
	putEarly(ctx context.Context, leaf unixfs.Block) error
}

// sendEarly has the leaves of layers that we align sent to dst as they are made,
// if it wants them. A layer that came as plain tar is nearly always wanted so.
func (ws *workspace) sendEarly(dst Destination) {
	s, ok := dst.(streamer)
	if !ok || ws.profile.NewTable().Wrapped { // whose leaves end elsewhere
		return
	}
	ws.early = func(leaf unixfs.Block) error {
		if err := s.putEarly(ws.ctx, leaf); err != nil {
			return refusal{err}
		}
		return nil
	}
}

// A refusal is a streamer's error.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// withoutPlace leaves out of a refusal where in the archive we were.
func withoutPlace(err error) error {
	if r, ok := errors.AsType[refusal](err); ok {
		return r.error
	}
	return err
}
