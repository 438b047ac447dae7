package trustless

import (
	"context"
	"net/http"
	"net/url"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	maxPath      = 8 << 20  // bytes of the blocks that lead to a file
	maxDirectory = 32 << 20 // bytes of the blocks of a directory
)

// ReadFile returns the content of the file at the slash-separated path below
// root, of at most limit bytes. Where verified directories show that there is
// none, the error is fs.ErrNotExist.
func (s Session) ReadFile(ctx context.Context, root cid.Cid, at string, limit int64) ([]byte, error) {
	var data []byte
	err := s.read(ctx, ipfspath.Place{Root: root, Path: at}, scopeEntity, limit+maxPath, func(get unixfs.Getter) (err error) {
		c, err := unixfs.Walk(ctx, get, root, at)
		if err == nil {
			data, err = unixfs.ReadAll(ctx, get, c, limit)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// ReadDir returns the entries of the directory at the slash-separated path below
// root by name, nil where there is a file. Where verified directories show that
// there is nothing, the error is fs.ErrNotExist.
func (s Session) ReadDir(ctx context.Context, root cid.Cid, at string) (map[string]cid.Cid, error) {
	var entries map[string]cid.Cid
	err := s.read(ctx, ipfspath.Place{Root: root, Path: at}, scopeEntity, maxDirectory+maxPath, func(get unixfs.Getter) (err error) {
		entries, err = unixfs.ReadDir(ctx, get, root, at)
		return err
	})
	return entries, err
}

// Trail returns the CIDs on the slash-separated path below root, and last the CID
// at its end.
func (s Session) Trail(ctx context.Context, root cid.Cid, at string) ([]cid.Cid, error) {
	var trail []cid.Cid
	err := s.read(ctx, ipfspath.Place{Root: root, Path: at}, scopeBlock, maxPath, func(get unixfs.Getter) (err error) {
		trail, err = unixfs.Trail(ctx, get, root, at)
		return err
	})
	return trail, err
}

// firstBlock returns the first block of the file or directory at a place.
func (s Session) firstBlock(ctx context.Context, at ipfspath.Place) (unixfs.Block, error) {
	var first unixfs.Block
	err := s.read(ctx, at, scopeBlock, maxPath, func(get unixfs.Getter) (err error) {
		if first.CID, err = unixfs.Walk(ctx, get, at.Root, at.Path); err == nil {
			first.Data, err = get(ctx, first.CID)
		}
		return err
	})
	return first, err
}

// A scope is how much a CAR has of what is at the end of a path.
// https://specs.ipfs.tech/http-gateways/trustless-gateway/#dag-scope-request-query-parameter
type scope string

const (
	scopeBlock  scope = "block"  // its first block
	scopeEntity scope = "entity" // all of a file or directory, but nothing below the latter
)

// read calls use with a getter of verified blocks: first with the blocks that are
// known, then with those of one CAR of at most limit bytes, and then with blocks
// that are asked for one by one. It goes on to the next where use returns that a
// block could not be had. Any other error of use is about verified blocks, and so
// final, whichever gateway they came from.
func (s Session) read(ctx context.Context, at ipfspath.Place, sc scope, limit int64, use func(unixfs.Getter) error) error {
	err := use(s.known)
	if !isUnavailable(err) {
		return err
	}
	err = s.pool.Do(ctx, gateway.Exchange{
		Path:   path.Join("ipfs", at.String()),
		Format: gateway.CAR,
		Query:  url.Values{"dag-scope": {string(sc)}},
		Accept: func(resp *http.Response) error {
			blocks := s.blocksOf(resp.Body, limit)
			defer blocks.close()
			err := use(blocks.get)
			if err == nil || isUnavailable(err) {
				return err
			}
			return gateway.Stop(err)
		},
		Failed: s.Failed,

		Verified: true,
	})
	if !mayHaveAnotherForm(err) {
		return err
	}
	if other := use(s.Block); !isUnavailable(other) {
		return other
	}
	return err
}
