package converter

import (
	"errors"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// sendEarly has the leaves of layers that we align sent to dst as they are made,
// if it wants them. A layer that came as plain tar is nearly always wanted so.
func sendEarly(ws *blob.Workspace, dst Destination) {
	s, ok := dst.(streamer)
	if !ok || ws.Profile.NewTable().Wrapped { // whose leaves end elsewhere
		return
	}
	ws.Early = func(leaf unixfs.Block) error {
		if err := s.PutEarly(ws.Context, leaf); err != nil {
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
