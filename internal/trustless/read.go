package trustless

import (
	"context"
	"net/http"
	"net/url"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	maxPath      = 8 << 20  // bytes of the blocks that lead to a file
	maxDirectory = 32 << 20 // bytes of the blocks of a directory
)

// ReadFile returns the content of the file at the slash-separated path below root, of
// at most limit bytes. If verified directories prove that there is no such file, the
// error is fs.ErrNotExist.
func (s Session) ReadFile(ctx context.Context, root cid.Cid, at string, limit int64) ([]byte, error) {
	place := ipfspath.Place{Root: root, Path: at}
	return read(ctx, s, place, scopeEntity, limit+maxPath, func(get unixfs.Getter) ([]byte, error) {
		c, err := unixfs.Walk(ctx, get, root, at)
		if err != nil {
			return nil, err
		}
		return unixfs.ReadAll(ctx, get, c, limit)
	})
}

// ReadDir returns the entries of the directory at the slash-separated path below root
// by name, or nil for a file. If verified directories prove that there is neither, the
// error is fs.ErrNotExist.
func (s Session) ReadDir(ctx context.Context, root cid.Cid, at string) (map[string]cid.Cid, error) {
	place := ipfspath.Place{Root: root, Path: at}
	return read(ctx, s, place, scopeEntity, maxDirectory+maxPath, func(get unixfs.Getter) (map[string]cid.Cid, error) {
		return unixfs.ReadDir(ctx, get, root, at)
	})
}

// Trail returns the CIDs on the slash-separated path below root, and last the CID at
// its end.
func (s Session) Trail(ctx context.Context, root cid.Cid, at string) ([]cid.Cid, error) {
	ctx, giveBack := context.WithCancel(ctx) // the CIDs alone take little memory
	defer giveBack()
	place := ipfspath.Place{Root: root, Path: at}
	return read(ctx, s, place, scopeBlock, maxPath, func(get unixfs.Getter) ([]cid.Cid, error) {
		return unixfs.Trail(ctx, get, root, at)
	})
}

// firstBlock returns the first block of the file or directory at a place.
func (s Session) firstBlock(ctx context.Context, at ipfspath.Place) (unixfs.Block, error) {
	return read(ctx, s, at, scopeBlock, maxPath, func(get unixfs.Getter) (unixfs.Block, error) {
		c, err := unixfs.Walk(ctx, get, at.Root, at.Path)
		if err != nil {
			return unixfs.Block{}, err
		}
		data, err := get(ctx, c)
		return unixfs.Block{CID: c, Data: data}, err
	})
}

// A scope is how much of the file or directory at the end of a path a CAR holds.
// https://specs.ipfs.tech/http-gateways/trustless-gateway/#dag-scope-request-query-parameter
type scope string

const (
	scopeBlock  scope = "block"  // its first block
	scopeEntity scope = "entity" // all of a file, or a directory without its entries' blocks
)

// read calls use with a getter of verified blocks: first with the known blocks, then
// with those of a CAR of at most limit bytes, and then with blocks that are requested
// one by one. It tries the next if use returns an unavailableError. Any other error is
// about verified blocks, so no gateway can mend it. The bytes that use reads count
// against the client's budget until it fails, or until ctx ends.
func read[T any](ctx context.Context, s Session, at ipfspath.Place, sc scope, limit int64, use func(unixfs.Getter) (T, error)) (T, error) {
	attempt := func(get unixfs.Getter) (T, error) {
		memory := s.newHold(ctx)
		got, err := use(memory.count(get))
		if err != nil {
			memory.fail()
		}
		return got, err
	}
	got, err := attempt(s.known)
	if !isUnavailable(err) {
		return got, err
	}
	var fromCAR first[T]
	err = s.pool.Do(ctx, gateway.Exchange{
		Path:   path.Join("ipfs", at.String()),
		Format: gateway.CAR,
		Ask:    func(query url.Values, _ http.Header) { query.Set("dag-scope", string(sc)) },
		Accept: func(resp *http.Response) error {
			blocks := s.blocksOf(resp.Body, limit)
			defer blocks.close()
			got, err := attempt(blocks.get)
			switch {
			case err == nil:
				fromCAR.set(got)
				return nil
			case isUnavailable(err):
				return err
			}
			return gateway.Stop(err)
		},
		Failed: s.Failed,
	})
	if err == nil {
		return fromCAR.value, budget.Spend(ctx, 0) // which waits if what was read needs a turn
	}
	if !mayHaveAnotherForm(err) {
		return fromCAR.value, err
	}
	if got, other := attempt(s.Block); !isUnavailable(other) {
		return got, other
	}
	return fromCAR.value, err
}
