package wrapping

import (
	"bytes"
	"io"
	"slices"
)

// A textWatch reads an archive, and notices if a shell took it for text.
type textWatch struct {
	r io.Reader

	last       byte
	pairs      bool // there was a line feed after a carriage return
	single     bool // there was a line feed without one
	replaced   bool // there was U+FFFD, with which a shell replaces bytes that are not UTF-8
	unreplaced bool // there was a byte that UTF-8 never has
}

const replacement = "\ufffd"

func (w *textWatch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.watch(p[:n])
		w.last = p[n-1]
	}
	return n, err
}

// watch looks for damage until it has seen that there is none: in a sound archive, within
// the first few kilobytes.
func (w *textWatch) watch(p []byte) {
	for at := 0; !w.single; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			break
		}
		at += i
		before := w.last
		if at > 0 {
			before = p[at-1]
		}
		w.pairs = w.pairs || before == '\r'
		w.single = before != '\r'
		at++
	}
	if !w.unreplaced {
		w.replaced = w.replaced || bytes.Contains(p, []byte(replacement))
		w.unreplaced = slices.ContainsFunc(p, func(c byte) bool { return c >= 0xf8 || c == 0xc0 || c == 0xc1 })
	}
}

// explain returns the damage to the archive as an error, if there is any, and err
// otherwise.
func (w *textWatch) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case w.replaced && !w.unreplaced:
		return ErrText
	case w.pairs && !w.single:
		return ErrLines
	}
	return err
}
