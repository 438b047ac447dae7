package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A Root is the store's own root: a directory of images that changes. Each of its states is
// a directory of format 1, with an address.
//
//	root/current     the state that it is now
//	root/log         a line for each change, the newest last
//	root/keep        how long replaced states are kept, unless that is the default
//	root/collected   when the oldest states that are complete were replaced
//	root/key         the private key of the root's IPNS name, as Kubo keeps keys
//	root/record      the newest signed IPNS record
//	root/ttl         the TTL of records, if it was set
//	root/pending/    uploads, and blobs that no manifest names yet
//	root/lock        held by the process that changes the root
//
// A change stores the new nodes, appends a line to the log, and renames the new current
// into place, each synced before the next. So a crash leaves the old state or the new one.
// It may also leave a line of a change that did not happen, or a part of one, which the next
// change removes.
//
// If the root has a key, a record that names the new state is renamed into place after
// current. If a crash prevents that, the next process that needs the record signs it.
//
// The methods of a Root may be called concurrently, and several processes may change the
// root of one store. Changes that wait in one process are made together. A root is changed
// by the owner of the store only.
type Root struct {
	store *Store
	now   func() time.Time

	mu      sync.Mutex
	waiting []*rootChange
	working bool // whether a goroutine takes the waiting changes

	verified atomic.Pointer[SignedRecord] // the last record that was read from disk
}

// Root returns the store's own root, which need not exist.
func (s *Store) Root() *Root { return s.root }

func (r *Root) dir() string { return filepath.Join(r.store.dir, "root") }

func (r *Root) path(name ...string) string {
	return filepath.Join(append([]string{r.dir()}, name...)...)
}

// Exists reports whether the root exists: whether something was put into it, or is about to
// be.
func (r *Root) Exists() bool { return r.store.exists(r.dir()) }

// maxSetting is how many bytes a file of the root with one value may have.
const maxSetting = 1 << 10

// Current returns the root as it is now, as this or another process left it. The error is
// ErrLacking if nothing was ever put into it.
func (r *Root) Current() (cid.Cid, error) {
	text, err := r.store.readFile(r.path("current"), maxSetting)
	if err != nil {
		return cid.Undef, lacking(err)
	}
	c, err := parseRoot(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return cid.Undef, fmt.Errorf("%s is %w: %w; the last line of %s has the address that belongs there", r.path("current"), ErrDamaged, err, r.path("log"))
	}
	return c, nil
}

// current is Current that returns cid.Undef for a root that does not exist.
func (r *Root) current() (cid.Cid, error) {
	c, err := r.Current()
	if errors.Is(err, ErrLacking) {
		return cid.Undef, nil
	}
	return c, err
}

// parseRoot reads the CID of a directory, as rootName writes it.
func parseRoot(s string) (cid.Cid, error) {
	c, err := cidname.ParseAny(s)
	if err != nil {
		return cid.Undef, err
	}
	return cid.NewCidV1(c.Type(), c.Hash()), nil
}

// DefaultKeep is how long replaced states are kept by default.
const DefaultKeep = 720 * time.Hour

// Keep returns how long a state of the root is kept after it was replaced: as SetKeep left
// it, or DefaultKeep.
func (r *Root) Keep() (time.Duration, error) {
	keep := DefaultKeep
	err := r.setting("keep", func(text string) (err error) {
		keep, err = time.ParseDuration(text)
		return err
	})
	return keep, err
}

// SetKeep sets how long replaced states are kept, for every process. Zero keeps only the
// current state.
func (r *Root) SetKeep(keep time.Duration) error {
	if before, err := r.Keep(); err == nil && before == keep {
		return nil
	}
	return r.set("keep", keep.String())
}

// collected returns the time before which replaced states may be incomplete.
func (r *Root) collected() (t time.Time, err error) {
	err = r.setting("collected", func(text string) (err error) {
		t, err = time.Parse(time.RFC3339Nano, text)
		return err
	})
	return t, err
}

// setCollected notes that states which were replaced before t are not kept any more. They stay
// dropped if SetKeep sets a longer time later.
func (r *Root) setCollected(t time.Time) error {
	if before, err := r.collected(); err != nil || !before.Before(t) {
		return err
	}
	return r.set("collected", t.UTC().Format(time.RFC3339Nano))
}

// setting reads a file with one value, unless it does not exist.
func (r *Root) setting(name string, parse func(string) error) error {
	text, err := r.store.readFile(r.path(name), maxSetting)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = parse(strings.TrimSuffix(string(text), "\n"))
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.path(name), err)
	}
	return nil
}

// set writes a file with one value.
func (r *Root) set(name, value string) error {
	if err := r.checkOwner(); err != nil {
		return err
	}
	if err := r.store.mkdirAll(r.dir()); err != nil {
		return err
	}
	mode, err := r.mode()
	if err != nil {
		return err
	}
	return atomicfile.Write(r.path(name), []byte(value+"\n"), mode)
}

// mode returns the permissions of the root's files, which are those of its directory. The key
// has keyMode instead.
func (r *Root) mode() (fs.FileMode, error) {
	mode, err := modeOf(r.dir())
	return mode&0o444 | 0o600, err
}

// Rollback makes an earlier state the current one. The error is ErrLacking if the log does
// not have it, or if it is not kept any more.
func (r *Root) Rollback(ctx context.Context, to cid.Cid, user string) (State, error) {
	to = cid.NewCidV1(to.Type(), to.Hash())
	done, err := r.Change(ctx, func(ctx context.Context, d *Draft) error {
		if d.root.Equals(to) {
			return nil
		}
		if err := r.checkKept(ctx, to); err != nil {
			return err
		}
		d.root = to
		d.Note(Action{What: "rollback", User: user})
		return nil
	})
	return done.State, err
}

// checkKept returns ErrLacking unless the root was in a state that is kept.
func (r *Root) checkKept(ctx context.Context, wanted cid.Cid) error {
	known, kept := false, false
	err := r.EachState(ctx, func(s State) bool {
		if s.Root.Equals(wanted) {
			known, kept = true, s.Kept
		}
		return !kept
	})
	switch {
	case err != nil:
		return err
	case !known:
		return fmt.Errorf("%s was never a state of the root: %w", rootName(wanted), ErrLacking)
	case !kept:
		return fmt.Errorf("%s is a state of the root that is not kept any more: %w", rootName(wanted), ErrLacking)
	}
	return nil
}
