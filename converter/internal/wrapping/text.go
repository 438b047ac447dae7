package wrapping

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// A textWatch passes the bytes of an archive on, and notices where a shell took them
// for text.
type textWatch struct {
	r io.Reader
	n int64 // bytes read

	last       byte
	lineFeeds  bool // after carriage returns
	unmarked   bool // a line feed without one, so none was added
	replaced   bool // U+FFFD, with which a shell replaces what is not UTF-8
	unreplaced bool // a byte that UTF-8 never has
}

const replacement = "\ufffd"

func (w *textWatch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	if n > 0 {
		w.watch(p[:n])
		w.last = p[n-1]
	}
	return n, err
}

// watch looks for line feeds and replaced bytes, until it knows that there is nothing
// to be found: in a sound archive, very soon.
func (w *textWatch) watch(p []byte) {
	for at := 0; !w.unmarked; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			break
		}
		at += i
		before := w.last
		if at > 0 {
			before = p[at-1]
		}
		w.lineFeeds = w.lineFeeds || before == '\r'
		w.unmarked = before != '\r'
		at++
	}
	if !w.unreplaced {
		w.replaced = w.replaced || bytes.Contains(p, []byte(replacement))
		w.unreplaced = slices.ContainsFunc(p, func(c byte) bool { return c >= 0xf8 || c == 0xc0 || c == 0xc1 })
	}
}

var (
	errReplaced = errors.New("the archive was damaged by a shell that took it for text, as PowerShell's > and | do: write it with `docker save -o FILE IMAGE`, and read it with `converter -i FILE`")
	errLines    = errors.New("the archive was damaged: every line feed in it became CRLF, as happens where a shell or a transfer takes it for text. Write it with `docker save -o FILE IMAGE`, and copy it as a binary file")
)

// explain returns err, the error of reading an archive, or what damaged the archive.
func (w *textWatch) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case w.replaced && !w.unreplaced:
		return errReplaced
	case w.lineFeeds && !w.unmarked:
		return errLines
	}
	return err
}
