package repository

import (
	"context"
	"io"

	"github.com/opencontainers/go-digest"
)

// An Upload is a blob that a client sends, as far as it has come.
type Upload struct {
	ID   string // 32 hexadecimal digits, which nobody can guess
	Size int64  // bytes: the offset of the next one
}

// Begin begins an upload. Only the user who begins it may continue it, in this repository. An
// upload survives the process; RemoveStale removes it a day after its last byte. The error may
// be ErrTooManyUploads.
func (r *Repository) Begin(ctx context.Context) (Upload, error) { return Upload{}, errUnsupported }

// Upload returns how far an upload has come. The bytes before Size are on disk. The error may
// be ErrUploadUnknown.
func (r *Repository) Upload(ctx context.Context, id string) (Upload, error) {
	return Upload{}, errUnsupported
}

// Append adds the bytes of body to an upload, until body ends, and makes them durable. offset
// is where the client says that they begin, or -1 if it does not say.
//
// Append returns how far the upload has come also with an error. If body fails, the bytes
// before stay, and the error is a *ReadError. It may also be ErrUploadUnknown, ErrUploadBusy, a
// *RangeError, or a *TooLargeError, which ends the upload. The memory that it takes does not
// depend on the size of the blob.
func (r *Repository) Append(ctx context.Context, id string, offset int64, body io.Reader) (Upload, error) {
	return Upload{}, errUnsupported
}

// Finish makes a blob of an upload. The repository has it from then on: pending until a
// manifest names it. A blob that the store has already is not kept twice. The digest may be
// sha256 or sha512.
//
// The error may be ErrUploadUnknown, ErrUploadBusy, or a *DigestError, which ends the upload.
func (r *Repository) Finish(ctx context.Context, id string, d digest.Digest) error {
	return errUnsupported
}

// Cancel ends an upload and removes its bytes. The error may be ErrUploadUnknown or
// ErrUploadBusy.
func (r *Repository) Cancel(ctx context.Context, id string) error { return errUnsupported }
