package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// named returns a store whose root has a key and a state, and the root's record.
func named(t *testing.T) (*Store, SignedRecord) {
	t.Helper()
	s := Open(t.TempDir())
	_, err := s.Root().EnsureKey(t.Context())
	check(t, err)
	changed(t, s, putTag("app", "v1", "one"))
	return s, signed(t, s)
}

// signed returns the record of the root, and checks that the root's key signed it and that it
// names the current state.
func signed(t *testing.T, s *Store) SignedRecord {
	t.Helper()
	got, err := s.Root().Signed(t.Context())
	check(t, err)
	name, ok := s.Root().Name()
	if !got.Root.Equals(current(t, s)) || !ok || got.Name != name {
		t.Fatalf("record %d of %s names %s; the root of %s is %s", got.Sequence, got.Name, got.Root, name, current(t, s))
	}
	key, err := ipns.ParseName(name)
	check(t, err)
	read, err := ipns.ReadRecord(got.Data, key)
	check(t, err)
	if value, err := read.Value(); err != nil || value != "/ipfs/"+cid.NewCidV1(got.Root.Type(), got.Root.Hash()).String() || read.Sequence != got.Sequence {
		t.Fatalf("the record has the value %s, %v", value, err)
	}
	return got
}

// at moves the clock of the store.
func (r *Root) at(t time.Time) { r.now = func() time.Time { return t } }

func TestEveryChangeIsSigned(t *testing.T) {
	s, first := named(t)
	if first.TTL != DefaultTTL || time.Until(first.Expires) < recordLife-time.Minute {
		t.Errorf("the TTL is %s, and it ends %s", first.TTL, first.Expires)
	}
	before := first
	for i := range 5 {
		changed(t, s, putTag("app", "v1", string(rune('a'+i))))
		last, err := s.Root().LastRecord() // before any reader signs one
		check(t, err)
		if !last.Root.Equals(current(t, s)) || last.Sequence <= before.Sequence || last.Name != before.Name {
			t.Errorf("change %d has record %d of %s, after %d", i, last.Sequence, last.Root, before.Sequence)
		}
		before = last
	}
	if again := signed(t, s); again.Sequence != before.Sequence {
		t.Errorf("a reader got record %d, and the last one is %d", again.Sequence, before.Sequence)
	}
	info, err := os.Stat(s.Root().path("key"))
	if check(t, err); info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %s", info.Mode())
	}
}

// A process that uses the key takes the permission to read it from other users.
func TestOtherUsersCannotReadTheKey(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // files have no modes
	}
	s, _ := named(t)
	check(t, os.Chmod(s.Root().path("key"), 0o644))
	signed(t, s)
	info, err := os.Stat(s.Root().path("key"))
	if check(t, err); info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %s", info.Mode())
	}
}

func TestARootWithoutAKeyHasNoRecord(t *testing.T) {
	s := Open(t.TempDir())
	changed(t, s, putTag("app", "v1", "one"))
	if _, ok := s.Root().Name(); ok {
		t.Error("it has a name")
	}
	if _, err := s.Root().Signed(t.Context()); !errors.Is(err, ErrLacking) {
		t.Errorf("error %v", err)
	}
	check(t, s.Root().Renew(t.Context()))
	name, err := s.Root().EnsureKey(t.Context())
	check(t, err)
	if got := signed(t, s); got.Name != name {
		t.Errorf("the record is of %s, and the key of %s", got.Name, name)
	}
}

func TestAnEmptyRootHasANameAndNoRecord(t *testing.T) {
	s := Open(t.TempDir())
	name, err := s.Root().EnsureKey(t.Context())
	check(t, err)
	if got, ok := s.Root().Name(); !ok || got != name {
		t.Errorf("the name is %q, and EnsureKey says %q", got, name)
	}
	if _, err := s.Root().Signed(t.Context()); !errors.Is(err, ErrLacking) {
		t.Errorf("error %v", err)
	}
	if again, err := s.Root().EnsureKey(t.Context()); err != nil || again != name {
		t.Errorf("EnsureKey says %s, %v, and said %s", again, err, name)
	}
}

// The next process that wants the record mends what a killed one left.
func TestReadersMendTheRecord(t *testing.T) {
	for what, damage := range map[string]func(t *testing.T, r *Root, older []byte){
		"of an earlier state": func(t *testing.T, r *Root, older []byte) { check(t, os.WriteFile(r.path("record"), older, 0o600)) },
		"gone":                func(t *testing.T, r *Root, _ []byte) { check(t, os.Remove(r.path("record"))) },
		"empty":               func(t *testing.T, r *Root, _ []byte) { check(t, os.WriteFile(r.path("record"), nil, 0o600)) },
		"too large":           func(t *testing.T, r *Root, _ []byte) { check(t, os.Truncate(r.path("record"), ipns.MaxRecord+1)) },
		"damaged": func(t *testing.T, r *Root, older []byte) {
			older[len(older)/2] ^= 1
			check(t, os.WriteFile(r.path("record"), older, 0o600))
		},
		"half written": func(t *testing.T, r *Root, older []byte) {
			check(t, os.WriteFile(r.path("record.new"), older[:100], 0o600))
			check(t, os.Remove(r.path("record")))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s, first := named(t)
			changed(t, s, putTag("app", "v2", "two"))
			given := signed(t, s)
			damage(t, s.Root(), first.Data)
			if mended := signed(t, Open(s.Dir())); mended.Sequence <= given.Sequence {
				t.Errorf("record %d was given out, and then %d", given.Sequence, mended.Sequence)
			}
		})
	}
}

func TestRecordsAreRenewed(t *testing.T) {
	s, first := named(t)
	begin := time.Now()
	for _, it := range []struct {
		after time.Duration
		isNew bool
	}{
		{renewAt - time.Hour, false},
		{renewAt + time.Second, true},
		{renewAt + recordLife*3, true}, // after a long pause
		{renewAt + recordLife*3 + time.Minute, false},
		{-recordLife, true}, // the clock went back by days
		{-recordLife - time.Minute, false},
	} {
		s.root.at(begin.Add(it.after))
		check(t, s.Root().Renew(t.Context()))
		got, err := s.Root().LastRecord()
		check(t, err)
		if (got.Sequence > first.Sequence) != it.isNew || got.Sequence < first.Sequence {
			t.Errorf("after %s, the record is %d, and was %d", it.after, got.Sequence, first.Sequence)
		}
		if left := got.Expires.Sub(begin.Add(it.after)); left < recordLife/2 || left > recordLife+wrongClock {
			t.Errorf("after %s, the record is valid for %s", it.after, left)
		}
		first = got
	}
}

// A backup brings back a record that is older than one that was given out since.
func TestNoSequenceIsGivenOutTwiceAfterABackup(t *testing.T) {
	s, old := named(t)
	backup := func(name string) (restore func()) {
		data, err := os.ReadFile(s.Root().path(name))
		check(t, err)
		return func() { check(t, os.WriteFile(s.Root().path(name), data, 0o600)) }
	}
	restoreRecord, restoreCurrent := backup("record"), backup("current")
	for _, tag := range []string{"v2", "v3", "v4"} {
		changed(t, s, putTag("app", tag, tag))
	}
	given := signed(t, s)
	restoreRecord()
	restoreCurrent()
	changed(t, s, putTag("app", "v5", "five"))
	if got := signed(t, s); got.Sequence <= given.Sequence || old.Sequence >= given.Sequence {
		t.Errorf("record %d was given out, and then %d", given.Sequence, got.Sequence)
	}
}

func TestTheTTLIsRemembered(t *testing.T) {
	s, first := named(t)
	check(t, s.Root().SetTTL(5*time.Second))
	got := signed(t, Open(s.Dir()))
	if got.TTL != 5*time.Second || got.Sequence <= first.Sequence {
		t.Errorf("record %d has the TTL %s", got.Sequence, got.TTL)
	}
}

func TestAnotherKeyIsAnotherName(t *testing.T) {
	s, first := named(t)
	key, err := ipns.NewKey()
	check(t, err)
	check(t, s.Root().SetKey(t.Context(), key))
	got := signed(t, s)
	if got.Name != key.Name() || got.Name == first.Name || got.Sequence <= first.Sequence {
		t.Errorf("record %d of %s", got.Sequence, got.Name)
	}
	// A process was killed after it wrote another key, and before the record.
	data, err := os.ReadFile(s.Root().path("key"))
	check(t, err)
	other, err := ipns.NewKey()
	check(t, err)
	check(t, s.Root().SetKey(t.Context(), other))
	check(t, os.WriteFile(s.Root().path("key"), data, 0o600))
	if mended := signed(t, s); mended.Name != key.Name() {
		t.Errorf("the record is of %s, and the key of %s", mended.Name, key.Name())
	}
}

// EnsureKey does not replace a lost key, since no registry follows the new name.
func TestALostKeyIsNoticed(t *testing.T) {
	s, first := named(t)
	check(t, os.Remove(s.Root().path("key")))
	if _, err := s.Root().EnsureKey(t.Context()); !errors.Is(err, errKeyMissing) {
		t.Errorf("error %v", err)
	}
	if got := signed(t, s); got.Sequence != first.Sequence {
		t.Errorf("record %d", got.Sequence)
	}
	changed(t, s, putTag("app", "v2", "two"))
	if got, err := s.Root().Signed(t.Context()); err != nil || got.Sequence != first.Sequence {
		t.Errorf("while it is valid, the last record is %d, %v", got.Sequence, err)
	}
	s.root.at(time.Now().Add(recordLife + time.Minute))
	if _, err := s.Root().Signed(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := s.Root().Publish(t.Context()); !errors.Is(err, ErrLacking) {
		t.Errorf("error %v", err)
	}
}

func TestPublishAlwaysSigns(t *testing.T) {
	s, first := named(t)
	got, err := s.Root().Publish(t.Context())
	if err != nil || got.Sequence <= first.Sequence || !got.Root.Equals(first.Root) {
		t.Errorf("record %d of %s, %v", got.Sequence, got.Root, err)
	}
}

// Of several processes that want to renew a record at the same time, one signs.
func TestOneProcessRenews(t *testing.T) {
	s, first := named(t)
	s.root.at(time.Now().Add(renewAt + time.Minute))
	var group sync.WaitGroup
	for range 8 {
		other := Open(s.Dir())
		other.root.now = s.root.now
		group.Go(func() {
			if err := other.Root().Renew(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	// A second signature at the same time would have the next higher number.
	if got, want := signed(t, s), uint64(s.root.now().UnixMicro()); got.Sequence != want {
		t.Errorf("the record was %d, and is %d after a renewal at %d", first.Sequence, got.Sequence, want)
	}
}
