package destination

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	// kuboStall is how long Kubo may take none of what is sent to it.
	kuboStall = time.Minute

	// kuboPin is how long Kubo may take to answer when it has everything. It
	// walks the whole DAG then.
	kuboPin = 10 * time.Minute

	kuboMaxAnswer = 1 << 20 // bytes
	kuboMaxName   = 255     // bytes of a pin's name
)

// A Kubo is a Kubo node into which images are put over its RPC API.
type Kubo struct {
	node  *kubo.Node
	tmp   string
	stall time.Duration // how long nothing may be taken
	pin   time.Duration // how long the answer may take
	logf  func(string, ...any)

	mu    sync.Mutex
	early *kuboImport // what leaves are sent to before the tree is known
}

// ToKubo returns a destination in the Kubo node whose RPC API is at the given
// URL, with a bearer token where the node wants one. The root is pinned.
func ToKubo(api, token string, logf func(format string, args ...any)) (*Kubo, error) {
	node, err := kubo.NewNode(api, token)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "converter-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	return &Kubo{node: node, tmp: tmp, stall: kuboStall, pin: kuboPin, logf: logf}, nil
}

// TempDir is part of converter.Destination.
func (d *Kubo) TempDir() string { return d.tmp }

// Close is part of converter.Destination.
func (d *Kubo) Close() error {
	if d.early != nil {
		d.early.abort(errUnused)
	}
	return os.RemoveAll(d.tmp)
}

var errUnused = errors.New("the conversion failed")

// PutEarly sends a leaf while layers still compress. What it is sent for is not
// certain yet: blocks that no root leads to in the end are not pinned, and the
// node's garbage collector takes them.
func (d *Kubo) PutEarly(ctx context.Context, leaf unixfs.Block) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.early == nil {
		d.early = d.newImport(ctx)
	}
	err := d.early.put(leaf)
	if errors.Is(err, errIdle) { // all is sent when the tree is known
		return nil
	}
	return d.failed(err)
}

// Commit imports and pins the tree in one request: what is left of it, or all.
func (d *Kubo) Commit(ctx context.Context, t *tree.Tree) error {
	err := errIdle
	if d.early != nil {
		err = d.early.finish(ctx, t)
	}
	if errors.Is(err, errIdle) {
		err = d.newImport(ctx).finish(ctx, t)
	}
	if err != nil {
		return d.failed(err)
	}
	query := url.Values{"arg": {t.Root.CID.String()}, "name": {pinName(t.Images)}}
	ctx, cancel := context.WithTimeoutCause(ctx, d.pin, errStalled)
	defer cancel()
	if err := d.call(ctx, "pin/add", query, "", nil, drain); err != nil {
		d.logf("the image is pinned, and its pin could not be named: %v", err)
	}
	return nil
}

func (d *Kubo) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("adding to the IPFS node at %s: %w", d.node, err)
}

// call sends a command and has its answer read.
func (d *Kubo) call(ctx context.Context, command string, query url.Values, contentType string, body io.Reader, read func(io.Reader) error) error {
	answer, err := d.node.Call(ctx, command, query, contentType, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := read(io.LimitReader(answer, kuboMaxAnswer)); err != nil {
		return err
	}
	return drain(answer) // at whose end may be an error
}

// drain reads an answer that says nothing else to its end.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, io.LimitReader(r, kuboMaxAnswer))
	return err
}

// pinName is how `ipfs pin ls --names` shows the images.
func pinName(images []tree.Image) string {
	names := make([]string, len(images))
	for i, img := range images {
		names[i] = img.Name + ":" + img.Tag
		if img.Tag == "" {
			names[i] = img.Digest.String()
		}
	}
	name := strings.Join(names, " ")
	return name[:min(len(name), kuboMaxName)]
}
