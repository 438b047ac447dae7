// Package wrapping unwraps archives: it removes the compression around them. A wrapping
// that it cannot remove it recognises, and the error says what helps.
//
// An archive may come from a pipe, so the package decides by the first bytes, by the
// names of entries as they come, and by counts that it keeps on the way. It reads
// nothing twice, and its memory does not grow with the archive.
package wrapping

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

const (
	maxNesting = 2        // compressions around one another
	sniffed    = 512      // first bytes that tell formats apart: one block of a tar
	bufferSize = 64 << 10 // bytes
)

// A Reader reads the tar of an archive. It is not safe for concurrent use.
type Reader struct {
	tar     *bufio.Reader
	outside *textWatch       // the bytes of the file or pipe
	peeled  []*decompression // the outermost first
	ended   bool
}

// Unwrap returns a reader of the tar in r. It fails if r begins like some other format
// that it knows. The caller closes the reader.
func Unwrap(r io.Reader) (*Reader, error) {
	u := &Reader{outside: &textWatch{r: r}}
	at := bufio.NewReaderSize(u.outside, bufferSize)
	for {
		beginning, err := at.Peek(sniffed)
		if err != nil && !errors.Is(err, io.EOF) {
			u.Close()
			return nil, err
		}
		encoding := blob.EncodingOf(beginning)
		if encoding == blob.Plain {
			u.tar = at
			if err := recognise(beginning); err != nil {
				u.Close()
				return nil, err
			}
			return u, nil
		}
		if at, err = u.peel(at, encoding); err != nil {
			u.Close()
			return nil, err
		}
	}
}

func (u *Reader) peel(r io.Reader, e blob.Encoding) (*bufio.Reader, error) {
	if len(u.peeled) == maxNesting {
		return nil, fmt.Errorf("the archive is compressed more than %d times over: decompress it first", maxNesting)
	}
	z, err := blob.NewDecompressor(r, e)
	if err != nil {
		return nil, u.outside.explain(decompressionError(e, err))
	}
	d := &decompression{Decompressor: z, encoding: e, outside: u.outside}
	u.peeled = append(u.peeled, d)
	return bufio.NewReaderSize(d, bufferSize), nil
}

// Close frees what decompression took.
func (u *Reader) Close() {
	for _, d := range u.peeled {
		d.Close()
	}
}

// Read reads the tar, and what follows after its end.
func (u *Reader) Read(p []byte) (int, error) {
	n, err := u.tar.Read(p)
	u.ended = u.ended || err == io.EOF && n == 0
	return n, err
}

// Ended reports whether the input has ended. A tar marks its own end: where the input
// ends before that mark, the archive was cut off.
func (u *Reader) Ended() bool { return u.ended }

// Explain returns the error to report instead of err, an error of reading the tar. If a
// shell took the archive for text and damaged it, the returned error says so.
func (u *Reader) Explain(err error) error { return u.outside.explain(err) }

// A decompression is one compression around the tar.
type decompression struct {
	blob.Decompressor
	encoding blob.Encoding
	outside  *textWatch
	trailing bool // other bytes follow after its end
}

// Read returns io.EOF where the compressed data ends, whatever follows.
func (d *decompression) Read(p []byte) (int, error) {
	n, err := d.Decompressor.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case errors.Is(err, blob.ErrTrailing):
		d.trailing = true
		return n, io.EOF
	}
	return n, d.outside.explain(decompressionError(d.encoding, err))
}

func decompressionError(e blob.Encoding, err error) error {
	if !errors.Is(err, blob.ErrWindow) {
		return fmt.Errorf("decompressing the archive: %w", err)
	}
	command := "xz -dc FILE"
	if e == blob.Zstandard {
		command = "zstd -dc --long=31 FILE"
	}
	return &WrappedError{fmt.Sprintf("the archive needs too much memory to decompress, %v", err), command}
}
