package store

import (
	"bytes"
	"io"
	"os"
)

// sameContent reports whether what is at final has the very bytes of the file at
// path. A link does not, wherever it leads, nor does what the disk cannot read.
func sameContent(path, final string) (bool, error) {
	ours, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer ours.Close()
	info, err := ours.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(final)
	if err != nil || !there.Mode().IsRegular() || there.Size() != info.Size() {
		return false, nil
	}
	theirs, err := os.Open(final)
	if err != nil {
		return false, nil
	}
	defer theirs.Close()
	return sameBytes(ours, theirs)
}

// sameBytes reports whether theirs begins with all of ours.
func sameBytes(ours, theirs io.Reader) (bool, error) {
	const chunk = 256 << 10
	want, got := make([]byte, chunk), make([]byte, chunk)
	for {
		n, err := io.ReadFull(ours, want)
		if _, unreadable := io.ReadFull(theirs, got[:n]); unreadable != nil || !bytes.Equal(got[:n], want[:n]) {
			return false, nil
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return true, nil
		default:
			return false, err
		}
	}
}
