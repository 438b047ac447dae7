package store

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// A Root is the store's own root: a directory of images that changes. Each of its states is
// a directory of format 1, with an address. Its methods may be called concurrently, and
// several processes may change the root of one store.
type Root struct {
	store *Store
}

// Root returns the store's own root, which need not exist.
func (s *Store) Root() *Root { return &Root{s} }

// Current returns the CID of the root as it is now, as this or another process left it. The
// error is ErrLacking if nothing was ever put into it.
func (r *Root) Current() (cid.Cid, error) { return cid.Undef, errors.ErrUnsupported }

// A State is a state of the root, and the change that led to it.
type State struct {
	Root    cid.Cid
	Time    time.Time
	Actions []Action
}

// An Action is a part of a change: what was done to one image, and by whom.
type Action struct {
	What      string        // "push", "delete", "convert" or "rollback"
	Name      string        // of the repository
	Reference string        // a tag or digest
	Digest    digest.Digest // of the manifest, or of a deleted blob
	Address   cid.Cid       // of a directory that holds this repository alone; undefined if it is gone
	User      string        // who did it; empty if that is not known
}

// States returns the states of the root, the newest first, up to a number of them.
func (r *Root) States(ctx context.Context, limit int) ([]State, error) {
	return nil, errors.ErrUnsupported
}

// DefaultKeep is how long replaced states are kept by default.
const DefaultKeep = 720 * time.Hour

// Keep returns how long a state of the root is kept after it was replaced: as SetKeep left
// it, or DefaultKeep.
func (r *Root) Keep() (time.Duration, error) { return DefaultKeep, errors.ErrUnsupported }

// SetKeep sets how long replaced states are kept, for every process. Zero keeps only the
// current state.
func (r *Root) SetKeep(ctx context.Context, keep time.Duration) error { return errors.ErrUnsupported }

// Rollback makes an earlier state the current one. The error is ErrLacking if the log does
// not have it, or if it is not kept any more.
func (r *Root) Rollback(ctx context.Context, to cid.Cid, user string) (State, error) {
	return State{}, errors.ErrUnsupported
}
