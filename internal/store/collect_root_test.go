package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// clock is the time in a store's root.
type clock struct{ now time.Time }

// rootWithClock returns a store whose root has a clock of its own.
func rootWithClock(t *testing.T) (*Store, *clock) {
	s := Open(t.TempDir())
	c := &clock{time.Now()}
	s.root.now = func() time.Time { return c.now }
	return s, c
}

func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

func collected(t *testing.T, s *Store) {
	t.Helper()
	_, err := s.Collect(t.Context(), false)
	check(t, err)
}

func hasNode(s *Store, c cid.Cid) bool { return s.exists(s.nodePath(c)) }

// A replaced state is kept for as long as was set, counted from the change that replaced it,
// and the current state always.
func TestCollectKeepsStates(t *testing.T) {
	s, clock := rootWithClock(t)
	changed(t, s, putTag("another", "v1", "three")) // so that no state is the address of a repository
	first := changed(t, s, putTag("app", "v1", "one"))
	clock.advance(1000 * time.Hour)
	second := changed(t, s, putTag("app", "v1", "two"))
	deleted := digest.FromString("one")
	third := changed(t, s, removePath("app", layout.ManifestPath("app", deleted.String())))

	clock.advance(719 * time.Hour)
	collected(t, s)
	if !hasTag(t, s, first.Root, "app", "v1", "one") || !states(t, s)[2].Kept {
		t.Error("a state that was replaced 719 hours ago is gone")
	}
	clock.advance(2 * time.Hour)
	collected(t, s)
	if hasNode(s, first.Root) || hasNode(s, second.Root) {
		t.Error("a state that was replaced 721 hours ago is there")
	}
	if _, err := s.ReadFile(t.Context(), first.Root, "app/manifests/v1", 100); !errors.Is(err, ErrLacking) {
		t.Errorf("the deleted image is still there: %v", err)
	}
	if !hasTag(t, s, third.Root, "app", "v1", "two") {
		t.Error("the current state is gone")
	}
	for i, kept := range []bool{true, false, false, false} {
		if states(t, s)[i].Kept != kept {
			t.Errorf("state %d is kept: %v", i, !kept)
		}
	}
	if _, err := s.Root().Rollback(t.Context(), first.Root, ""); !errors.Is(err, ErrLacking) {
		t.Errorf("a state that is gone became the current one: %v", err)
	}
	check(t, s.Root().SetKeep(10000*time.Hour))
	collected(t, s) // which does not look for what an earlier one removed
	if _, err := s.Root().Rollback(t.Context(), second.Root, ""); !errors.Is(err, ErrLacking) {
		t.Errorf("a state that is gone became the current one: %v", err)
	}
}

func TestKeepIsRemembered(t *testing.T) {
	s, clock := rootWithClock(t)
	if keep, err := s.Root().Keep(); err != nil || keep != DefaultKeep {
		t.Errorf("states are kept for %s, %v", keep, err)
	}
	changed(t, s, putTag("another", "v1", "three")) // so that no state is the address of a repository
	first := changed(t, s, putTag("app", "v1", "one"))
	changed(t, s, putTag("app", "v2", "two"))
	check(t, s.Root().SetKeep(0))
	if keep, err := Open(s.Dir()).Root().Keep(); err != nil || keep != 0 {
		t.Errorf("states are kept for %s, %v", keep, err)
	}
	clock.advance(time.Second)
	collected(t, s)
	if hasNode(s, first.Root) {
		t.Error("a replaced state was kept")
	}
}

// The address that was told to a pusher can be pulled while one of its images is kept, though
// the repository has changed since.
func TestCollectKeepsAddresses(t *testing.T) {
	s, clock := rootWithClock(t)
	first := changed(t, s, putTag("team/app", "v1", "one")).Actions[0].Address
	changed(t, s, putTag("team/app", "v2", "two"))
	changed(t, s, putTag("other", "v1", "three"))
	clock.advance(1000 * time.Hour)
	collected(t, s)
	if !hasTag(t, s, first, "team/app", "v1", "one") {
		t.Error("the address of an image that is in the root is gone")
	}
	changed(t, s, removePath("team/app", "team/app/manifests/v1"))
	changed(t, s, removePath("team/app", "team/app/manifests/"+digest.FromString("one").String()))
	collected(t, s)
	if !hasTag(t, s, first, "team/app", "v1", "one") {
		t.Error("the address of an image that a kept state has is gone")
	}
	clock.advance(1000 * time.Hour)
	collected(t, s)
	if hasNode(s, first) {
		t.Error("the address of a deleted image is there")
	}
}

// A damaged address of an earlier state keeps nothing from being collected.
func TestCollectOfADamagedAddress(t *testing.T) {
	s, clock := rootWithClock(t)
	first := changed(t, s, putTag("team/app", "v1", "one")).Actions[0].Address
	changed(t, s, putTag("team/app", "v2", "two"))
	clock.advance(1000 * time.Hour)
	check(t, os.WriteFile(s.nodePath(first), []byte("rot"), 0o600))
	collected(t, s)
	if hasNode(s, first) || !hasTag(t, s, current(t, s), "team/app", "v1", "one") {
		t.Error("the damaged address is there, or its image is gone")
	}
}

// uploaded makes a blob of the store a pending one of a repository.
func uploaded(t *testing.T, s *Store, name string, content []byte) (digest.Digest, cid.Cid) {
	t.Helper()
	im, err := s.BeginImport()
	check(t, err)
	defer im.Close()
	check(t, im.Lock(t.Context()))
	path := filepath.Join(im.TempDir(), "blob")
	check(t, os.WriteFile(path, content, 0o600))
	cutter := unixfs.V1.NewCutter()
	cutter.Write(content)
	file, err := unixfs.V1.Layout(cutter.Table())
	check(t, err)
	d := digest.FromBytes(content)
	check(t, im.Blob(path, d, file))
	check(t, im.Pend(name, d, file.CID))
	return d, file.CID
}

// A pending blob is kept until a day after it was used last.
func TestCollectKeepsPendingBlobs(t *testing.T) {
	s, clock := rootWithClock(t)
	d, c := uploaded(t, s, "team/app", blob)
	collected(t, s)
	if got, err := s.Root().Pending("team/app", d); err != nil || !got.Equals(c) {
		t.Errorf("the pending blob is %s, %v", got, err)
	}
	if _, err := s.Root().Pending("team/other", d); !errors.Is(err, ErrLacking) {
		t.Errorf("the blob is pending in another repository: %v", err)
	}
	clock.advance(25 * time.Hour)
	collected(t, s)
	if _, err := s.Root().Pending("team/app", d); !errors.Is(err, ErrLacking) || s.exists(s.blobPath(d)) {
		t.Errorf("the blob is pending after a day: %v", err)
	}
}

func TestUnpend(t *testing.T) {
	s, _ := rootWithClock(t)
	d, _ := uploaded(t, s, "team/app", blob)
	check(t, s.Root().Unpend("team/app", d))
	if err := s.Root().Unpend("team/app", d); !errors.Is(err, ErrLacking) {
		t.Errorf("it was pending again: %v", err)
	}
	collected(t, s)
	if s.exists(s.blobPath(d)) {
		t.Error("a blob that nothing needs is there")
	}
}

// A damaged state keeps everything from being removed.
func TestCollectOfADamagedState(t *testing.T) {
	s, _ := rootWithClock(t)
	d, _ := uploaded(t, s, "team/app", blob)
	check(t, s.Root().Unpend("team/app", d))
	state := changed(t, s, putTag("app", "v1", "one"))
	path, err := s.walk(t.Context(), state.Root, "app/manifests")
	check(t, err)
	check(t, os.Remove(s.nodePath(path)))
	_, err = s.Collect(t.Context(), false)
	damaged, ok := errors.AsType[*StateError](err)
	if !ok || !damaged.Current || !damaged.Root.Equals(state.Root) || !s.exists(s.blobPath(d)) {
		t.Errorf("%v", err)
	}
}

func TestUploads(t *testing.T) {
	s, clock := rootWithClock(t)
	r := s.Root()
	info := UploadInfo{Name: "team/app", User: "alice"}
	id, ok, err := r.BeginUpload(info, 2)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	u, err := r.OpenUpload(id)
	check(t, err)
	if _, err := u.Write([]byte("abc")); err != nil || u.Info != info {
		t.Error(u.Info, err)
	}
	if _, err := r.OpenUpload(id); !errors.Is(err, ErrBusy) {
		t.Errorf("it was opened twice: %v", err)
	}
	check(t, u.Close())
	if got, size, err := Open(s.Dir()).Root().UploadSize(id); err != nil || got != info || size != 3 {
		t.Errorf("after a restart it has %d bytes for %v, %v", size, got, err)
	}
	other, ok, err := r.BeginUpload(info, 2)
	if err != nil || !ok || other == id {
		t.Error(other, ok, err)
	}
	if _, ok, err := r.BeginUpload(info, 2); ok || err != nil {
		t.Errorf("there are three uploads of two: %v", err)
	}
	if u, err = r.OpenUpload(other); err == nil {
		err = u.Remove()
	}
	check(t, err)
	for _, unknown := range []string{other, "", "../uploads", fmt.Sprintf("%032d", 0), id + "/..", "A" + id[1:]} {
		if _, err := r.OpenUpload(unknown); !errors.Is(err, ErrLacking) {
			t.Errorf("upload %q: %v", unknown, err)
		}
	}
	clock.advance(25 * time.Hour)
	check(t, r.RemoveStale(t.Context()))
	if _, _, err := r.UploadSize(id); !errors.Is(err, ErrLacking) {
		t.Errorf("an upload of yesterday is there: %v", err)
	}
}
