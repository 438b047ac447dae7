package destination

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Kubo writes images to a Kubo node over its RPC API.
type Kubo struct {
	kuboCaller
	tmp string

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
	return &Kubo{kuboCaller: kuboCaller{node, kuboStall, kuboPin, logf}, tmp: tmp}, nil
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

// pinName returns how `ipfs pin ls --names` shows the images.
func pinName(images []layout.Tagged) string {
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
