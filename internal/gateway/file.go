package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// ErrMismatch says that content is not what it was asked for by.
var ErrMismatch = unixfs.ErrMismatch

// A File is a file below a CID, which any gateway of the pool may have.
type File struct {
	Pool *Pool
	Root cid.Cid
	Path string // slash-separated, below Root

	// Failed is told of each attempt that failed. It may be nil.
	Failed func(Failure)
}

func (f File) exchange(header func(http.Header), accept func(*http.Response) error) Exchange {
	return Exchange{
		Path:   path.Join("ipfs", f.Root.String(), f.Path),
		Header: header,
		Accept: accept,
		Failed: f.Failed,
	}
}

// ReadAll returns the whole content, of at most limit bytes, that check does
// not find fault with. Its errors mean what those of Exchange.Accept mean.
func (f File) ReadAll(ctx context.Context, limit int64, check func([]byte) error) ([]byte, error) {
	var data []byte
	err := f.Pool.Do(ctx, f.exchange(nil, func(resp *http.Response) (err error) {
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		data, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
		if err != nil {
			return err
		}
		if int64(len(data)) > limit {
			return fmt.Errorf("more than %d bytes", limit)
		}
		return check(data)
	}))
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Size returns the number of bytes of the file, as a gateway states it. It asks
// for one byte, not by HEAD, which some gateways answer without looking.
func (f File) Size(ctx context.Context) (int64, error) {
	first := Range{0, 0}
	var size int64
	err := f.Pool.Do(ctx, f.exchange(first.Set, func(resp *http.Response) error {
		switch resp.StatusCode {
		case http.StatusOK: // ranges are optional
			size = resp.ContentLength
			if size < 0 {
				return Soft(errUnsized)
			}
			return nil
		case http.StatusRequestedRangeNotSatisfiable:
			n, err := unsatisfied(resp)
			if err == nil && n != 0 {
				err = fmt.Errorf("no first byte of %d", n)
			}
			size = n
			return err
		}
		c, err := Partial(resp)
		if err == nil && !first.matches(c) {
			err = fmt.Errorf("%s in answer to %s", c, first)
		}
		size = c.Size
		return err
	}))
	return size, err
}
