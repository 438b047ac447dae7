// Package trustless gets files and directories below a CID from gateways that
// nobody has to trust: whatever a gateway sends is verified before a caller sees
// it.
//
// A CID is the hash of a block, and a block names the blocks below it. So a path
// is followed from the root by verified blocks alone, and a name that its verified
// directory does not have is proved to be absent; a gateway's 404 proves nothing.
//
// Blocks come in a CAR, or one by one. A file is asked for as it is where a
// gateway serves that, which costs it the least: the blocks above the file's
// leaves, its leaf table, are fetched beside it, and each leaf is checked against
// the table before any of it goes on. So a gateway can lie about one leaf at most
// before the next gateway goes on, at the beginning of that leaf.
package trustless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Client gets content from a pool and verifies all of it. Its methods may be
// called concurrently.
type Client struct {
	pool   *gateway.Pool
	blocks *cache[[]byte] // directories and nodes of files, by multihash
	files  *files

	Nodes Nodes // set before use; may be nil
}

// NewClient returns a client of the pool's gateways.
func NewClient(p *gateway.Pool) *Client {
	return &Client{pool: p, blocks: newCache(func(data []byte) int { return len(data) }), files: newFiles()}
}

// A Session is a client on behalf of one request.
type Session struct {
	*Client

	// Failed is told of each attempt that failed, from several goroutines at
	// once, and after the request ended, too, where others wait for what it began.
	// It may be nil.
	Failed func(gateway.Failure)
}

// ReadFile returns the content of the file at the slash-separated path below
// root, of at most limit bytes. Where the directories that lead there show that
// there is none, the error is fs.ErrNotExist; that a gateway says so proves
// nothing.
func (s Session) ReadFile(ctx context.Context, root cid.Cid, at string, limit int64) ([]byte, error) {
	var data []byte
	err := s.with(ctx, root, at, entity, limit+maxPath, func(get unixfs.Getter) (err error) {
		c, err := unixfs.Walk(ctx, get, root, at)
		if err == nil {
			data, err = readAll(ctx, get, c, limit)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// ReadDir returns the entries of the directory at the slash-separated path below
// root by name, nil where there is a file. Where the directories that lead there
// show that there is nothing, the error is fs.ErrNotExist.
func (s Session) ReadDir(ctx context.Context, root cid.Cid, at string) (map[string]cid.Cid, error) {
	var entries map[string]cid.Cid
	err := s.with(ctx, root, at, entity, maxDirectory+maxPath, func(get unixfs.Getter) (err error) {
		entries, err = unixfs.ReadDir(ctx, get, root, at)
		return err
	})
	return entries, err
}

// maxDirectory is how many bytes of blocks a directory is read from.
const maxDirectory = 32 << 20

// maxPath is how many bytes of blocks may lead to a file, beside its own.
const maxPath = 8 << 20

// Block returns a verified block: a directory, a node of a file, or a file that
// is one block.
func (s Session) Block(ctx context.Context, c cid.Cid) ([]byte, error) { return s.raw(ctx, c) }

// Trail returns the CIDs on the slash-separated path below root, that of what it
// ends at last.
func (s Session) Trail(ctx context.Context, root cid.Cid, at string) ([]cid.Cid, error) {
	var trail []cid.Cid
	err := s.with(ctx, root, at, block, maxPath, func(get unixfs.Getter) (err error) {
		trail, err = unixfs.Trail(ctx, get, root, at)
		return err
	})
	return trail, err
}

// Stat returns the number of bytes of the file at the slash-separated path below
// root.
func (s Session) Stat(ctx context.Context, root cid.Cid, at string) (int64, error) {
	first, err := s.first(ctx, root, at)
	if err != nil {
		return 0, err
	}
	return unixfs.FileSize(first)
}

// first returns the first block of what is at the slash-separated path below
// root.
func (s Session) first(ctx context.Context, root cid.Cid, at string) (unixfs.Block, error) {
	var first unixfs.Block
	err := s.with(ctx, root, at, block, maxPath, func(get unixfs.Getter) (err error) {
		if first.CID, err = unixfs.Walk(ctx, get, root, at); err == nil {
			first.Data, err = get(ctx, first.CID)
		}
		return err
	})
	return first, err
}

func readAll(ctx context.Context, get unixfs.Getter, c cid.Cid, limit int64) ([]byte, error) {
	first, err := get(ctx, c)
	if err != nil {
		return nil, err
	}
	size, err := unixfs.FileSize(unixfs.Block{CID: c, Data: first})
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", size, limit, unixfs.ErrTooLarge)
	}
	data := make([]byte, 0, size)
	err = unixfs.Stream(ctx, get, c, 0, size, func(b []byte) error {
		data = append(data, b...)
		return nil
	})
	return data, err
}

// A scope is how much a CAR has of what is at the end of a path.
type scope string

const (
	block  scope = "block"  // its first block
	entity scope = "entity" // a file
)

// with calls use with a getter of verified blocks: first with those that are
// known already, then with those of one CAR of what is at a path, and then with
// blocks that are asked for one by one. What use says of verified blocks is
// true, whoever gave them; that a block could not be had leads to the next way.
func (s Session) with(ctx context.Context, root cid.Cid, at string, sc scope, limit int64, use func(unixfs.Getter) error) error {
	err := use(s.known)
	if !isUnavailable(err) {
		return err
	}
	x := gateway.Exchange{
		Path:   path.Join("ipfs", root.String(), at),
		Format: gateway.CAR,
		Query:  url.Values{"dag-scope": {string(sc)}},
		Accept: func(resp *http.Response) error {
			err := use(s.fromCAR(resp.Body, limit).get)
			if err == nil || isUnavailable(err) {
				return err
			}
			return gateway.Stop(err)
		},
		Failed: s.Failed,

		Verified: true,
	}
	err = s.pool.Do(ctx, x)
	if !mayHaveAnotherForm(err) {
		return err
	}
	if other := use(s.raw); !isUnavailable(other) {
		return other
	}
	return err
}

// mayHaveAnotherForm reports whether there may be a gateway that does not serve
// something in the form in which none did: the reasons that gateways give differ.
// One that only hung would do so again.
func mayHaveAnotherForm(err error) bool {
	failed, all := errors.AsType[gateway.Error](err)
	return all && !failed.All(gateway.ErrStalled)
}

// An unavailableError says that a block could not be had, which says nothing
// about what it would be.
type unavailableError struct{ error }

func (e unavailableError) Unwrap() error { return e.error }

func isUnavailable(err error) bool {
	_, is := errors.AsType[unavailableError](err)
	return is
}

var errUnknown = unavailableError{errors.New("not fetched yet")}

// known is a unixfs.Getter of blocks that are at hand.
func (s Session) known(_ context.Context, c cid.Cid) ([]byte, error) {
	if data, inline := unixfs.Inline(c); inline {
		return data, unixfs.Block{CID: c, Data: data}.Verify()
	}
	data, known := s.remembered(c)
	if !known {
		return nil, errUnknown
	}
	return data, nil
}

// A carBlocks gives the blocks of a CAR as they come, in the order in which they
// are there.
type carBlocks struct {
	Session
	body     *io.LimitedReader
	progress func()            // since a block is one that is wanted
	car      *car.Reader       // nil until something is read
	leaves   bool              // are among them, which are too many to be remembered
	leaf     []byte            // the memory for one of them, until the next is read
	early    map[string][]byte // blocks that came before they were wanted, by multihash
	err      error
}

func (s Session) fromCAR(body io.Reader, limit int64) *carBlocks {
	return &carBlocks{
		Session:  s,
		body:     &io.LimitedReader{R: body, N: limit},
		progress: func() { gateway.Progress(body) },
		early:    map[string][]byte{},
	}
}

func (b *carBlocks) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if data, err := b.known(ctx, c); !isUnavailable(err) {
		return data, err
	}
	want := string(c.Hash())
	data, came := b.early[want]
	for !came && b.err == nil {
		var got unixfs.Block
		if got, b.err = b.next(); b.err != nil {
			break
		}
		data, came = got.Data, string(got.CID.Hash()) == want
		if !came && !b.leaves {
			b.err = b.keep(got)
		}
	}
	if !came {
		return nil, unavailableError{b.err}
	}
	b.progress()
	if !b.leaves {
		b.remember(unixfs.Block{CID: c, Data: data})
	}
	return data, nil
}

// next reads and verifies a block.
func (b *carBlocks) next() (unixfs.Block, error) {
	if b.car == nil {
		r, err := car.NewReader(b.body)
		if err != nil {
			return unixfs.Block{}, err
		}
		b.car = r
	}
	c, _, err := b.car.Next()
	if err == io.EOF {
		return unixfs.Block{}, errors.New("the gateway.CAR ends before the block that comes next")
	}
	if err != nil {
		return unixfs.Block{}, err
	}
	data, err := b.car.BlockIn(b.leaf)
	if err != nil {
		return unixfs.Block{}, err
	}
	if b.leaves {
		b.leaf = data
	}
	got := unixfs.Block{CID: c, Data: data}
	if err := got.Verify(); err != nil {
		return unixfs.Block{}, err
	}
	return got, nil
}

// maxEarly is how many blocks may come before they are wanted.
const maxEarly = 1024

// keep remembers a block that is not wanted yet.
func (b *carBlocks) keep(early unixfs.Block) error {
	if _, inline := unixfs.Inline(early.CID); inline {
		return nil // nobody asks for it
	}
	if len(b.early) == maxEarly {
		return fmt.Errorf("more than %d blocks that nobody asked for", maxEarly)
	}
	b.early[string(early.CID.Hash())] = early.Data
	return nil
}

// raw is a unixfs.Getter that asks for blocks which are not at hand.
func (s Session) raw(ctx context.Context, c cid.Cid) ([]byte, error) {
	data, err := s.known(ctx, c)
	if !isUnavailable(err) {
		return data, err
	}
	if data, err = s.leaf(ctx, c); err == nil {
		s.remember(unixfs.Block{CID: c, Data: data})
	}
	return data, err
}

// leaf asks for a block that is not to be remembered.
func (s Session) leaf(ctx context.Context, c cid.Cid) (data []byte, err error) {
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
