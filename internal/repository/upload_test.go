package repository

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cut"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An upload goes on after a restart, and gives the same file as one that was never cut off.
func TestUploadSurvivesRestarts(t *testing.T) {
	dir := t.TempDir()
	content := random(1, 5<<20)
	whole := repositoryOf(t, store.Open(t.TempDir()), "app")
	upload(t, whole, content)
	want, err := whole.Blob(t.Context(), digest.FromBytes(content))
	check(t, err)
	check(t, want.Close())

	u, err := repositoryOf(t, store.Open(dir), "app").Begin(t.Context())
	check(t, err)
	for at := 0; at < len(content); at += 700_000 {
		r := repositoryOf(t, store.Open(dir), "app") // another process
		state, err := r.Upload(t.Context(), u.ID)
		if err != nil || state.Size != int64(at) {
			t.Fatalf("at byte %d the upload is at %d, %v", at, state.Size, err)
		}
		_, err = r.Append(t.Context(), u.ID, int64(at), bytes.NewReader(content[at:min(at+700_000, len(content))]))
		check(t, err)
		if _, read := r.repositories.sums.idle[u.ID]; read != (at == 0) {
			t.Errorf("at byte %d the upload was read again", at) // for a request that may be small
		}
	}
	r := repositoryOf(t, store.Open(dir), "app")
	check(t, r.Finish(t.Context(), u.ID, digest.FromBytes(content)))
	got, err := r.Blob(t.Context(), digest.FromBytes(content))
	check(t, err)
	defer got.Close()
	if data, err := io.ReadAll(got); err != nil || !bytes.Equal(data, content) || !got.CID.Equals(want.CID) {
		t.Errorf("the blob is %s, want %s: %v", got.CID, want.CID, err)
	}
	if _, err := r.Upload(t.Context(), u.ID); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("the upload is still there: %v", err)
	}
}

// An upload has the leaves that the converter gives the same blob.
func TestUploadIsCutAsFormat1Says(t *testing.T) {
	var gz bytes.Buffer
	for seed := range 2 {
		z := gzip.NewWriter(&gz)
		_, err := z.Write(random(byte(seed), 50_000))
		check(t, errors.Join(err, z.Close()))
	}
	r := repositoryOf(t, store.Open(t.TempDir()), "app")
	f, err := r.Blob(t.Context(), upload(t, r, gz.Bytes()))
	check(t, err)
	defer f.Close()
	c := cut.NewCutter(unixfs.V1)
	defer c.Close()
	_, err = c.Write(gz.Bytes())
	check(t, err)
	want, err := c.File()
	if err != nil || len(want.Table.Leaves) != 2 || f.CID != want.CID {
		t.Errorf("the blob is %s, want %s of %d leaves, %v", f.CID, want.CID, len(want.Table.Leaves), err)
	}
}

func TestUploadOfNothing(t *testing.T) {
	r := repositoryOf(t, store.Open(t.TempDir()), "app")
	f, err := r.Blob(t.Context(), upload(t, r, nil))
	if err != nil || f.Size != 0 {
		t.Errorf("an empty blob: %v", err)
	}
	f.Close()
}

func TestUploadBySHA512(t *testing.T) {
	r := repositoryOf(t, store.Open(t.TempDir()), "app")
	content := random(1, 200_000)
	d := digest.SHA512.FromBytes(content)
	u, err := r.Begin(t.Context())
	check(t, err)
	_, err = r.Append(t.Context(), u.ID, -1, bytes.NewReader(content))
	check(t, err)
	check(t, r.Finish(t.Context(), u.ID, d))
	f, err := r.Blob(t.Context(), d)
	check(t, err)
	defer f.Close()
	if right, err := f.HasDigest(t.Context(), d); !right || err != nil {
		t.Errorf("the blob has another digest: %v", err)
	}
}

func TestUploadErrors(t *testing.T) {
	s := store.Open(t.TempDir())
	all := New(s, Config{MaxBlob: 1000, MaxUploads: 2})
	r, err := all.Repository("app", "alice")
	check(t, err)
	u, err := r.Begin(t.Context())
	check(t, err)
	if _, err := r.Append(t.Context(), u.ID, 0, strings.NewReader("abc")); err != nil {
		t.Error(err)
	}
	for _, other := range []struct{ name, user string }{{"app", "bob"}, {"other", "alice"}, {"app", ""}} {
		stranger, err := all.Repository(other.name, other.user)
		check(t, err)
		_, looked := stranger.Upload(t.Context(), u.ID)
		_, appended := stranger.Append(t.Context(), u.ID, 3, strings.NewReader("d"))
		for _, err := range []error{looked, appended, stranger.Finish(t.Context(), u.ID, digest.FromString("abc")), stranger.Cancel(t.Context(), u.ID)} {
			if !errors.Is(err, ErrUploadUnknown) {
				t.Errorf("%v: %v", other, err)
			}
		}
	}
	got, err := r.Append(t.Context(), u.ID, 4, strings.NewReader("d"))
	if wrong, ok := errors.AsType[*RangeError](err); !ok || *wrong != (RangeError{4, 3}) || got.Size != 3 {
		t.Errorf("bytes that begin elsewhere: %v, %v", got, err)
	}
	cut := errors.New("cut off")
	for at, cut := range []error{cut, io.ErrUnexpectedEOF, io.ErrClosedPipe} {
		got, err = r.Append(t.Context(), u.ID, int64(3+at), io.MultiReader(strings.NewReader("def"[at:at+1]), iotest.ErrReader(cut)))
		if failed, ok := errors.AsType[*ReadError](err); !ok || !errors.Is(failed, cut) || got.Size != int64(4+at) {
			t.Errorf("a client that leaves with %v: %v, %v", cut, got, err)
		}
	}
	if _, err := r.Begin(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.Begin(t.Context()); !errors.Is(err, ErrTooManyUploads) {
		t.Errorf("three uploads of two: %v", err)
	}
	check(t, r.Finish(t.Context(), u.ID, digest.FromString("abcdef")))

	u, err = r.Begin(t.Context())
	check(t, err)
	_, err = r.Append(t.Context(), u.ID, 0, bytes.NewReader(make([]byte, 1001)))
	if _, ok := errors.AsType[*TooLargeError](err); !ok {
		t.Errorf("a blob that is too large: %v", err)
	}
	if _, err := r.Upload(t.Context(), u.ID); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("its upload is still there: %v", err)
	}
	u, err = r.Begin(t.Context())
	check(t, err)
	_, err = r.Append(t.Context(), u.ID, 0, strings.NewReader("abc"))
	check(t, err)
	err = r.Finish(t.Context(), u.ID, digest.FromString("abd"))
	if wrong, ok := errors.AsType[*DigestError](err); !ok || wrong.Got != digest.FromString("abc") {
		t.Errorf("a wrong digest: %v", err)
	}
	if _, err := r.Upload(t.Context(), u.ID); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("its upload is still there: %v", err)
	}
	u, err = r.Begin(t.Context())
	check(t, err)
	check(t, r.Cancel(t.Context(), u.ID))
	if err := r.Cancel(t.Context(), u.ID); !errors.Is(err, ErrUploadUnknown) {
		t.Errorf("a cancelled upload: %v", err)
	}
}

// A second request for an upload that is being sent is refused, and does not harm the first.
func TestUploadIsForOneRequest(t *testing.T) {
	r := repositoryOf(t, store.Open(t.TempDir()), "app")
	u, err := r.Begin(t.Context())
	check(t, err)
	body, sent := io.Pipe()
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := r.Append(context.Background(), u.ID, 0, body); err != nil {
			t.Error(err)
		}
	})
	sent.Write([]byte("a")) // it is being read now
	if _, err := r.Append(t.Context(), u.ID, -1, strings.NewReader("b")); !errors.Is(err, ErrUploadBusy) {
		t.Errorf("a second request: %v", err)
	}
	if err := r.Finish(t.Context(), u.ID, digest.FromString("a")); !errors.Is(err, ErrUploadBusy) {
		t.Errorf("a second request: %v", err)
	}
	sent.Close()
	group.Wait()
	check(t, r.Finish(t.Context(), u.ID, digest.FromString("a")))
}
