package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// A SignedRecord is an IPNS record that names a state of the root.
type SignedRecord struct {
	Name     string // of the key that signed it (k51…)
	Root     cid.Cid
	Sequence uint64
	Expires  time.Time
	TTL      time.Duration // how long a follower may use the record before it looks for a newer one
	Data     []byte        // the record as it is sent to followers
}

const (
	// recordLife is how long a record is valid.
	recordLife = 48 * time.Hour

	// renewAt is the age at which a record is due to be renewed. A process that looks every hour
	// renews it long before half of its life is over.
	renewAt = 20 * time.Hour

	// wrongClock is the most by which a record may end later than a new one would. Beyond
	// that, the clock was wrong when the record was signed.
	wrongClock = time.Hour
)

// Signed returns a record of the current state of the root. It signs one if the newest record
// names another state, as after a process was killed, or is due to be renewed. If Signed cannot sign,
// because the store belongs to another user or the disk is full, it returns the newest record
// while that is valid. The error is ErrLacking if the root has no key, or if nothing was put
// into it.
func (r *Root) Signed(ctx context.Context) (SignedRecord, error) {
	s, err := r.signing()
	if err == nil && !s.isDue() {
		return s.last, nil
	}
	if err == nil {
		var signed SignedRecord
		if signed, err = r.sign(ctx, false); err == nil {
			return signed, nil
		}
	}
	if r.now().Before(s.last.Expires) {
		return s.last, nil
	}
	return SignedRecord{}, err
}

// Renew signs a record if the newest one names another state, or is due to be renewed. It does
// nothing if the root has no key, if nothing was put into it, or if the key belongs to another
// user.
func (r *Root) Renew(ctx context.Context) error {
	s, err := r.signing()
	if errors.Is(err, ErrLacking) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil || !s.isDue() {
		return err
	}
	_, err = r.sign(ctx, false)
	return err
}

// Publish always signs a new record of the current state of the root. The
// error is ErrLacking if the root has no key, or if nothing was put into it.
func (r *Root) Publish(ctx context.Context) (SignedRecord, error) { return r.sign(ctx, true) }

// LastRecord returns the newest record. The error is ErrLacking if there is none.
func (r *Root) LastRecord() (SignedRecord, error) {
	data, err := r.store.readFile(r.path("record"), ipns.MaxRecord)
	if err != nil {
		return SignedRecord{}, lacking(err)
	}
	if last := r.verified.Load(); last != nil && bytes.Equal(last.Data, data) {
		return *last, nil
	}
	last, err := parseRecord(data)
	if err != nil {
		return SignedRecord{}, fmt.Errorf("%s is %w: %w", r.path("record"), ErrDamaged, err)
	}
	r.verified.Store(&last)
	return last, nil
}

func parseRecord(data []byte) (SignedRecord, error) {
	record, err := ipns.ReadOwnRecord(data)
	if err != nil {
		return SignedRecord{}, err
	}
	value, err := record.Value()
	if err != nil {
		return SignedRecord{}, err
	}
	root, err := parseRoot(strings.TrimPrefix(value, valuePrefix))
	return SignedRecord{ipns.FormatName(record.Key), root, record.Sequence, record.Expires, record.TTL, data}, err
}

// valuePrefix is the prefix of the value of a root's record.
const valuePrefix = "/ipfs/"

// A signing has everything that the next record of a root depends on.
type signing struct {
	key  ipns.Key
	root cid.Cid
	ttl  time.Duration
	last SignedRecord // the zero SignedRecord if there is none, or a damaged one
	now  time.Time
}

// signing returns the signing of the root's current state. It returns the newest record even
// if the key cannot be read.
func (r *Root) signing() (signing, error) {
	current, failed := r.Current()
	s, err := r.signingOf(current)
	if err == nil {
		err = failed
	}
	return s, err
}

// signingOf is like signing, for a state that will be the current one.
func (r *Root) signingOf(root cid.Cid) (s signing, err error) {
	s.root, s.now = root, r.now()
	if s.last, err = r.LastRecord(); err != nil && !isLost(err) {
		return s, err
	}
	if s.key, err = r.Key(); err != nil {
		return s, err
	}
	s.ttl, err = r.TTL()
	return s, err
}

// isDue reports whether a new record must be signed.
func (s signing) isDue() bool {
	left := s.last.Expires.Sub(s.now)
	return s.last.Name != s.key.Name() || !s.last.Root.Equals(s.root) || s.last.TTL != s.ttl ||
		left < recordLife-renewAt || left > recordLife+wrongClock
}

// next returns the next record. Its sequence number is higher than that of the last one, and
// at least the number of microseconds since 1970. It is therefore higher than all that were
// given out before, even if a backup has brought back an older record, unless the clock was
// set back since.
func (s signing) next() ([]byte, error) {
	sequence := max(s.last.Sequence+1, uint64(max(0, s.now.UnixMicro())))
	return s.key.Sign(ipns.Statement{
		Value:    valuePrefix + key(s.root),
		Sequence: sequence,
		Expires:  s.now.Add(recordLife),
		TTL:      s.ttl,
		Literal:  true,
	})
}

// sign signs a record if one is due or if always is true, and returns the newest record.
func (r *Root) sign(ctx context.Context, always bool) (signed SignedRecord, err error) {
	err = r.locked(ctx, func() error {
		s, err := r.signing()
		if err != nil {
			return err
		}
		if always || s.isDue() {
			if err := r.putRecord(s); err != nil {
				return err
			}
		}
		signed, err = r.LastRecord()
		return err
	})
	return signed, err
}

// signIfDue signs a record if the root has a key, and a state that the newest record does not
// name. The root must be locked.
func (r *Root) signIfDue() error {
	s, err := r.signing()
	if errors.Is(err, ErrLacking) {
		return nil
	}
	if err != nil || !s.isDue() {
		return err
	}
	return r.putRecord(s)
}

// putRecord signs a record, and durably puts it in place.
func (r *Root) putRecord(s signing) error {
	err := r.stageRecord(s)
	if err == nil {
		err = r.unstage("record")
	}
	if err == nil {
		err = atomicfile.SyncDir(r.dir())
	}
	if err != nil {
		return fmt.Errorf("signing a record of the root: %w", err)
	}
	return nil
}

// stageRecord signs a record, for unstage to put in place. The root must be locked.
func (r *Root) stageRecord(s signing) error {
	data, err := s.next()
	if err != nil {
		return err
	}
	mode, err := r.mode()
	if err != nil {
		return err
	}
	return r.stage("record", data, mode)
}

// stageRecordOf signs a record of the state that is about to be the current one, and reports
// whether unstage can put it in place. It reports false if the root has no key, or if it cannot
// sign or write the record: Signed tries again later, and returns the error.
func (r *Root) stageRecordOf(root cid.Cid) bool {
	s, err := r.signingOf(root)
	return err == nil && r.stageRecord(s) == nil
}

// DefaultTTL is how long a follower may use a record by default before it looks for a newer
// one.
const DefaultTTL = time.Minute

// TTL returns the TTL of records that SetTTL has set, or DefaultTTL.
func (r *Root) TTL() (time.Duration, error) {
	ttl := DefaultTTL
	err := r.setting("ttl", func(text string) (err error) {
		ttl, err = time.ParseDuration(text)
		return err
	})
	return ttl, err
}

// SetTTL sets the TTL of the records that every process signs from now on.
func (r *Root) SetTTL(ttl time.Duration) error {
	if before, err := r.TTL(); err == nil && before == ttl {
		return nil
	}
	return r.set("ttl", ttl.String())
}
