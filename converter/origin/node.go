package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// patience is how long a node may send nothing. It may have to find content on the
// network first.
const patience = time.Minute

var errSilent = errors.New("it has sent nothing for a minute: it may be looking for content that no peer has")

// FromNode reads from a Kubo node.
func FromNode(n *kubo.Node) Origin { return newOrigin(onNode{n}) }

type onNode struct{ *kubo.Node }

func (p onNode) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	r, err := p.call(ctx, "block/get", c)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, unixfs.MaxBlock+1))
}

func (p onNode) open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error) {
	return p.call(ctx, "cat", f.CID)
}

func (p onNode) call(ctx context.Context, command string, c cid.Cid) (io.ReadCloser, error) {
	w := ctxio.NewWait(ctx, patience, errSilent)
	w.Start()
	answer, err := p.Call(w.Context(), command, url.Values{"arg": {c.String()}}, "", nil)
	w.Stop()
	if err != nil {
		w.Cancel()
		if isMissing(err) {
			err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
		}
		return nil, err
	}
	return w.Body(answer), nil
}

// isMissing reports whether err is what a node without network says of a block that
// it does not have.
func isMissing(err error) bool { return strings.Contains(err.Error(), "could not find") }

func (p onNode) Close() error   { return nil }
func (p onNode) String() string { return "the IPFS node at " + p.Node.String() }
