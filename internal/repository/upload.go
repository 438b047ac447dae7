package repository

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Upload is a blob that a client sends, as far as it has come.
type Upload struct {
	ID   string // 32 hexadecimal digits, which nobody can guess
	Size int64  // bytes: the offset of the next one
}

// Begin begins an upload. Only the user who begins it may continue it, in this repository. An
// upload survives the process; RemoveStale removes it a day after its last byte. The error may
// be ErrTooManyUploads.
func (r *Repository) Begin(_ context.Context) (Upload, error) {
	id, ok, err := r.root().BeginUpload(store.UploadInfo{Name: r.name, User: r.user}, r.repositories.config.MaxUploads)
	if err == nil && !ok {
		err = ErrTooManyUploads
	}
	return Upload{ID: id}, err
}

// Upload returns how far an upload has come. The error may be ErrUploadUnknown.
func (r *Repository) Upload(_ context.Context, id string) (Upload, error) {
	info, size, err := r.root().UploadSize(id)
	if err := r.checkUpload(info, err); err != nil {
		return Upload{}, err
	}
	return Upload{id, size}, nil
}

// checkUpload returns the error of looking for an upload, which may be that of another
// repository or user.
func (r *Repository) checkUpload(info store.UploadInfo, err error) error {
	switch {
	case errors.Is(err, store.ErrLacking), err == nil && info != store.UploadInfo{Name: r.name, User: r.user}:
		return ErrUploadUnknown
	case errors.Is(err, store.ErrBusy):
		return ErrUploadBusy
	}
	return err
}

// open opens an upload of this repository and user.
func (r *Repository) open(id string) (*store.Upload, error) {
	if _, err := r.Upload(context.Background(), id); err != nil {
		return nil, err
	}
	u, err := r.root().OpenUpload(id)
	if err != nil {
		return nil, r.checkUpload(store.UploadInfo{}, err)
	}
	return u, nil
}

// Append adds the bytes of body to an upload, until body ends. They survive the process; only
// Finish makes them durable. offset is where the client says that they begin, or -1 if it does
// not say.
//
// Append returns how far the upload has come also with an error. If body fails, the bytes
// before stay, and the error is a *ReadError. It may also be ErrUploadUnknown, ErrUploadBusy, a
// *RangeError, or a *TooLargeError, which ends the upload. The memory that it takes does not
// depend on the size of the blob.
func (r *Repository) Append(ctx context.Context, id string, offset int64, body io.Reader) (Upload, error) {
	u, err := r.open(id)
	if err != nil {
		return Upload{ID: id}, err
	}
	defer u.Close()
	if offset >= 0 && offset != u.Size {
		return Upload{id, u.Size}, &RangeError{offset, u.Size}
	}
	s := r.repositories.sums.take(id, u)
	size, err := r.receive(ctx, u, s, body)
	if _, tooLarge := errors.AsType[*TooLargeError](err); tooLarge {
		s.close()
		return Upload{ID: id}, errors.Join(err, u.Remove())
	}
	r.repositories.sums.put(id, s)
	return Upload{id, size}, err
}

// received is how many bytes are taken from a client at a time.
const received = 128 << 10

// receive adds the bytes of body to an upload and to its sums, which may be nil. It returns the
// new size of the upload.
func (r *Repository) receive(ctx context.Context, u *store.Upload, s *sum, body io.Reader) (size int64, err error) {
	limit := r.repositories.config.MaxBlob
	buf := make([]byte, received)
	size = u.Size
	for {
		if ctx.Err() != nil {
			return size, &ReadError{context.Cause(ctx)}
		}
		n, failed := readFull(body, buf)
		if limit > 0 && size+int64(n) > limit {
			return size, &TooLargeError{"blob", limit}
		}
		if _, err := u.Write(buf[:n]); err != nil {
			return size, errors.Join(err, u.Truncate(size))
		}
		size += int64(n)
		if err := s.add(buf[:n]); err != nil {
			return size, err
		}
		switch failed {
		case nil:
		case io.EOF:
			return size, nil
		default:
			return size, &ReadError{failed}
		}
	}
}

// readFull fills buf from body. Unlike io.ReadFull, it returns the error of body as it is: the
// end of a body is io.EOF, and a body that broke off is io.ErrUnexpectedEOF.
func readFull(body io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = body.Read(buf[n:])
		n += more
	}
	return n, err
}

// Finish makes a blob of an upload. The repository has it from then on: pending until a
// manifest names it. A blob that the store has already is not kept twice. The digest may be
// sha256 or sha512.
//
// The error may be ErrUploadUnknown, ErrUploadBusy, or a *DigestError, which ends the upload.
func (r *Repository) Finish(ctx context.Context, id string, d digest.Digest) error {
	u, err := r.open(id)
	if err != nil {
		return err
	}
	defer u.Close()
	s, err := r.repositories.sums.complete(ctx, id, u)
	if err != nil {
		return err
	}
	defer s.close()
	got, err := s.digest(ctx, u, d.Algorithm())
	if err != nil {
		return err
	}
	if got != d {
		return errors.Join(&DigestError{d, got}, u.Remove())
	}
	file, err := s.file()
	if err != nil {
		return err
	}
	if err := r.keep(ctx, u, d, s.sha256(), file); err != nil {
		return fmt.Errorf("keeping blob %s: %w", d, err)
	}
	return u.Remove()
}

// keep moves the bytes of an upload into the store, and makes them a pending blob.
func (r *Repository) keep(ctx context.Context, u *store.Upload, d, sha256 digest.Digest, file *unixfs.File) error {
	im, err := r.repositories.store.BeginImport()
	if err != nil {
		return err
	}
	defer im.Close() // what it leaves is removed by the next import
	if err := im.Lock(ctx); err != nil {
		return err
	}
	if err := im.Blob(u.Path(), sha256, file); err != nil {
		return err
	}
	return im.Pend(r.name, d, file.CID)
}

// Cancel ends an upload and removes its bytes. The error may be ErrUploadUnknown or
// ErrUploadBusy.
func (r *Repository) Cancel(_ context.Context, id string) error {
	u, err := r.open(id)
	if err != nil {
		return err
	}
	return u.Remove()
}
