package trustless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// ErrMismatch says that content does not have the hash by which it was asked for.
var ErrMismatch = unixfs.ErrMismatch

// An unavailableError says that a block could not be fetched. It says nothing about the
// block's content.
type unavailableError struct{ error }

func (e unavailableError) Unwrap() error { return e.error }

func isUnavailable(err error) bool {
	_, is := errors.AsType[unavailableError](err)
	return is
}

var errUnknown = unavailableError{errors.New("not fetched yet")}

// Block returns a verified block: a directory, a node of a file, or a file that is
// one block.
func (s Session) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.known(ctx, c)
	if !isUnavailable(err) {
		return data, err
	}
	if data, err = s.fetch(ctx, c); err == nil {
		s.remember(unixfs.Block{CID: c, Data: data})
	}
	return data, err
}

// known is a unixfs.Getter of the blocks that are remembered or part of their CID.
func (s Session) known(_ context.Context, c cid.Cid) ([]byte, error) {
	if data, inline := unixfs.Inline(c); inline {
		return data, unixfs.Block{CID: c, Data: data}.Verify()
	}
	data, known := s.recall(c)
	if !known {
		return nil, errUnknown
	}
	return data, nil
}

// fetch asks gateways for a block. It does not remember it.
func (s Session) fetch(ctx context.Context, c cid.Cid) ([]byte, error) {
	var block first[[]byte]
	err := s.pool.Do(ctx, gateway.Exchange{
		Path:   path.Join("ipfs", c.String()),
		Format: gateway.Raw,
		Accept: func(resp *http.Response) error {
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			data, err := io.ReadAll(io.LimitReader(resp.Body, unixfs.MaxBlock+1))
			if err != nil {
				return err
			}
			if err := (unixfs.Block{CID: c, Data: data}).Verify(); err != nil {
				return err
			}
			block.set(data)
			return nil
		},
		Failed: s.Failed,
	})
	if err != nil {
		return nil, unavailableError{err}
	}
	return block.value, nil
}

// A first is the result of an exchange: the first one, where several gateways are asked
// at the same time.
type first[T any] struct {
	once  sync.Once
	value T // may be read when the exchange is done
}

func (f *first[T]) set(value T) { f.once.Do(func() { f.value = value }) }

// mayHaveAnotherForm reports whether gateways that all failed may answer a request for
// another format. Gateways that hung would hang again.
func mayHaveAnotherForm(err error) bool {
	failed, all := errors.AsType[gateway.Error](err)
	return all && !failed.All(gateway.ErrStalled)
}

// recovered turns a panic into an error, so that a fault in decoding hostile bytes does
// not end the server.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}
