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
	// kuboStall is how long Kubo may take nothing of what is sent to it before
	// it is asked whether it is still there.
	kuboStall = time.Minute

	// kuboPin is the same when Kubo has everything: it walks the whole DAG then.
	kuboPin = 10 * time.Minute

	// kuboAnswer is how long a Kubo that is still there may take to say so.
	kuboAnswer = 10 * time.Second

	kuboMaxAnswer = 1 << 20 // bytes
	kuboMaxName   = 255     // bytes of a pin's name
)

// A Kubo writes images to a Kubo node over its RPC API.
type Kubo struct {
	node  *kubo.Node
	tmp   string
	stall time.Duration // see kuboStall
	pin   time.Duration // see kuboPin
	logf  func(string, ...any)

	mu    sync.Mutex
	early *kuboImport // to which leaves are sent before the tree is known
}

// ToKubo returns a destination in a Kubo node. The root is pinned there. logf
// reports what happens, one line for each call.
func ToKubo(node *kubo.Node, logf func(format string, args ...any)) (*Kubo, error) {
	tmp, err := makeTempDir()
	if err != nil {
		return nil, err
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

// PutEarly sends a leaf while layers are still being compressed. It may turn out that
// nothing needs the leaf. A leaf below no root is not pinned, and the node's garbage
// collector removes it.
func (d *Kubo) PutEarly(ctx context.Context, leaf unixfs.Block) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.early == nil {
		d.early = d.newImport(ctx)
	}
	err := d.early.put(leaf)
	if errors.Is(err, errIdle) { // Commit sends everything again
		return nil
	}
	return d.failed(err)
}

// Commit imports and pins the tree in one request, which sends what PutEarly has not
// sent.
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
		d.logf("the image is pinned, but its pin could not be named: %v", err)
	}
	return nil
}

func (d *Kubo) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("adding to the IPFS node at %s: %w", d.node, err)
}

// call sends a command, and lets read read its answer.
func (d *Kubo) call(ctx context.Context, command string, query url.Values, contentType string, body io.Reader, read func(io.Reader) error) error {
	answer, err := d.node.Call(ctx, command, query, contentType, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := read(io.LimitReader(answer, kuboMaxAnswer)); err != nil {
		return err
	}
	return drain(answer) // there may be an error at its end
}

// drain reads an answer to its end.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, io.LimitReader(r, kuboMaxAnswer))
	return err
}

// isAlive reports whether the node answers. A node that collects garbage does, and
// takes no blocks meanwhile.
func (d *Kubo) isAlive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, min(d.stall, kuboAnswer))
	defer cancel()
	return d.call(ctx, "version", nil, "", nil, drain) == nil
}

// pinName returns how `ipfs pin ls --names` shows the images.
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
