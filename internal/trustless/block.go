package trustless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An unavailableError says that a block could not be had. That says nothing about
// the block's content.
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

// known is a unixfs.Getter of blocks that no gateway has to be asked for.
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

// fetch asks gateways for a block, which it does not remember.
func (s Session) fetch(ctx context.Context, c cid.Cid) (data []byte, err error) {
	err = s.pool.Do(ctx, gateway.Exchange{
		Path:   path.Join("ipfs", c.String()),
		Format: gateway.Raw,
		Accept: func(resp *http.Response) (err error) {
			if resp.StatusCode != http.StatusOK {
				return errors.New(resp.Status)
			}
			if data, err = io.ReadAll(io.LimitReader(resp.Body, unixfs.MaxBlock+1)); err != nil {
				return err
			}
			return unixfs.Block{CID: c, Data: data}.Verify()
		},
		Failed: s.Failed,

		Verified: true,
	})
	if err != nil {
		return nil, unavailableError{err}
	}
	return data, nil
}

// mayHaveAnotherForm reports whether a gateway may have something in another form
// than the one in which none gave it: the reasons that gateways give differ. A
// gateway that hung would hang again.
func mayHaveAnotherForm(err error) bool {
	failed, all := errors.AsType[gateway.Error](err)
	return all && !failed.All(gateway.ErrStalled)
}

// recovered turns a panic into an error. It is for goroutines that decode hostile
// bytes: a fault in that must not end a server.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
	}
}
