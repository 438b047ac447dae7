package source

import "github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/wrapping"

// The errors for inputs that are not archives of images.
type (
	// A WrappedError is the error for an archive inside something that only another
	// program unwraps.
	WrappedError = wrapping.WrappedError

	// A NotImagesError is the error for an input that holds no images.
	NotImagesError = wrapping.NotImagesError
)

// The errors for archives that were damaged on the way, or joined.
var (
	ErrText          = wrapping.ErrText
	ErrLines         = wrapping.ErrLines
	ErrSecondArchive = wrapping.ErrSecondArchive
)

// A SkopeoDirError is the error for a directory, or an archive of one, that skopeo wrote
// to dir:. Its manifest.json is a manifest.
type SkopeoDirError struct{ Where string }

func (e *SkopeoDirError) Error() string {
	return e.Where + " has the form of skopeo's dir:, which only skopeo and its relatives read"
}
