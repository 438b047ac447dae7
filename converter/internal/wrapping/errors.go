package wrapping

import "errors"

// A WrappedError is the error for an archive inside something that this package does
// not unwrap. Another program does.
type WrappedError struct {
	What    string // what is wrong
	Command string // of the other program, which writes the archive to standard output
}

func (e *WrappedError) Error() string { return e.What }

// A NotImagesError is the error for an input that holds no images.
type NotImagesError struct {
	What string // what the input is
	Help string // what to do instead; empty where nothing is known but to save an image
}

func (e *NotImagesError) Error() string {
	if e.Help == "" {
		return e.What
	}
	return e.What + ": " + e.Help
}

var (
	// ErrText is the error for an archive that a shell rewrote in another encoding.
	ErrText = errors.New("the archive was damaged by a shell that took it for text, as PowerShell's > and | do")

	// ErrLines is the error for an archive whose line ends were rewritten.
	ErrLines = errors.New("the archive was damaged: every line feed in it became CRLF, as happens where a shell or a transfer takes it for text")

	// ErrSecondArchive is the error for an input of several archives.
	ErrSecondArchive = errors.New("another archive follows after the end of the first")
)
