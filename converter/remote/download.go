package remote

import (
	"context"
	"errors"
	"io"
	"time"
)

// downloadTries is how often a download is continued after its connection broke.
const downloadTries = 5

// A download reads a blob of known size from a registry, and continues where a
// connection broke.
type download struct {
	ctx    context.Context
	open   func(offset int64) (io.ReadCloser, error)
	body   io.ReadCloser // nil where the connection broke
	offset int64
	size   int64
	tries  int
}

func (d *download) Read(p []byte) (int, error) {
	if d.body == nil {
		if err := d.reopen(); err != nil {
			return 0, err
		}
	}
	n, err := d.body.Read(p)
	d.offset += int64(n)
	if err == nil || err == io.EOF && d.offset >= d.size || !d.mayGoOn(err) {
		return n, err
	}
	d.Close()
	return n, nil
}

// mayGoOn reports whether another connection may succeed.
func (d *download) mayGoOn(err error) bool {
	return d.ctx.Err() == nil && !errors.Is(err, ErrSilent) && d.tries < downloadTries
}

func (d *download) reopen() error {
	for {
		d.tries++
		select {
		case <-d.ctx.Done():
			return context.Cause(d.ctx)
		case <-time.After(time.Duration(d.tries) * 200 * time.Millisecond):
		}
		body, err := d.open(d.offset)
		if err == nil {
			d.body = body
			return nil
		}
		if body != nil {
			body.Close()
		}
		if !d.mayGoOn(err) {
			return err
		}
	}
}

func (d *download) Close() error {
	if d.body == nil {
		return nil
	}
	err := d.body.Close()
	d.body = nil
	return err
}
