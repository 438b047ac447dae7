package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// Errors about what a client asks for. Any other error, but for the types below, is a fault
// of the disk or of this machine.
var (
	// ErrNameUnknown says that there is no repository with the name.
	ErrNameUnknown = errors.New("there is no such repository")

	// ErrManifestUnknown says that the repository does not have the tag or manifest.
	ErrManifestUnknown = errors.New("the repository has no such manifest")

	// ErrBlobUnknown says that the repository does not have the blob, whether or not
	// another one has it.
	ErrBlobUnknown = errors.New("the repository has no such blob")

	// ErrUploadUnknown says that there is no such upload: it was finished, cancelled or
	// removed, or another user or repository began it.
	ErrUploadUnknown = errors.New("there is no such upload")

	// ErrUploadBusy says that another request is sending bytes of the same upload.
	ErrUploadBusy = errors.New("another request is sending bytes of this upload")

	// ErrTooManyUploads says that Config.MaxUploads uploads are under way.
	ErrTooManyUploads = errors.New("too many uploads are under way: try again later")
)

// IsReadOnly reports whether a change failed because this process may not write to the store:
// its file system is mounted read-only, its permissions forbid it, or it belongs to another
// user.
func IsReadOnly(err error) bool {
	_, others := errors.AsType[*store.OwnerError](err)
	return others || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// A TooLargeError says that something has more bytes than it may have.
type TooLargeError struct {
	What  string // "manifest", "blob" or "index of referrers"
	Limit int64  // bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the %s has more than %d bytes", e.What, e.Limit)
}

// A RangeError says that bytes do not begin where an upload ends.
type RangeError struct {
	Offset int64 // at which they were to begin
	Size   int64 // bytes that the upload has
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("the upload has %d bytes, and the next ones do not begin at %d", e.Size, e.Offset)
}

// A DigestError says that content does not have the digest that the client gave.
type DigestError struct{ Want, Got digest.Digest }

func (e *DigestError) Error() string {
	return fmt.Sprintf("the content has the digest %s, and not %s", e.Got, e.Want)
}

// A MissingError names the blobs of a manifest that the repository does not have.
type MissingError struct{ Blobs []digest.Digest }

// maxNamed is how many digests the text of an error names.
const maxNamed = 10

func (e *MissingError) Error() string {
	named := make([]string, 0, maxNamed)
	for _, d := range e.Blobs[:min(len(e.Blobs), maxNamed)] {
		named = append(named, d.String())
	}
	return fmt.Sprintf("the repository lacks %d of the manifest's blobs: %s", len(e.Blobs), strings.Join(named, ", "))
}

// An InvalidError says why bytes are not a manifest that can be stored.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }

func (e *InvalidError) Unwrap() error { return e.Err }

// A ReadError is the error of the reader from which an upload takes its bytes.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "reading what the client sends: " + e.Err.Error() }

func (e *ReadError) Unwrap() error { return e.Err }
