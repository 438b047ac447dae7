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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// patience is how long a node may give nothing. It may have to find content on
// the network first.
const patience = time.Minute

var errPatience = errors.New("it has not answered for a minute: it may be looking for content that nobody has")

// FromNode reads from a Kubo node.
func FromNode(n *kubo.Node) Origin { return Origin{onNode{n}} }

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
	ctx, cancel := context.WithCancelCause(ctx)
	r := &patientReader{cancel: cancel, watch: time.AfterFunc(patience, func() { cancel(errPatience) })}
	var err error
	r.ReadCloser, err = p.Call(ctx, command, url.Values{"arg": {c.String()}}, "", nil)
	if err != nil {
		r.watch.Stop()
		cancel(nil)
		if isMissing(err) {
			err = fmt.Errorf("%w: %w", err, fs.ErrNotExist)
		}
		return nil, err
	}
	return r, nil
}

// isMissing reports whether an error is that of a node without network.
func isMissing(err error) bool { return strings.Contains(err.Error(), "could not find") }

func (p onNode) Close() error   { return nil }
func (p onNode) String() string { return "the IPFS node at " + p.Node.String() }

// A patientReader gives up when nothing comes for a while. The time in which
// nobody reads does not count.
type patientReader struct {
	io.ReadCloser
	watch  *time.Timer
	cancel context.CancelCauseFunc
}

func (r *patientReader) Read(p []byte) (int, error) {
	r.watch.Reset(patience)
	defer r.watch.Stop()
	return r.ReadCloser.Read(p)
}

func (r *patientReader) Close() error {
	r.watch.Stop()
	r.cancel(nil)
	return r.ReadCloser.Close()
}
