package trustless

import (
	"errors"
	"net/http"
	"path"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// straight copies a file of which nothing is known yet in one round trip, from gateways
// that serve no files: in a CAR from its root on, directories come before the file's
// nodes, and these before its leaves.
func (d *delivery) straight(needsTable bool) error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   path.Join("ipfs", d.at.String()),
		Format: gateway.CAR,
		Ask:    d.askEntity,
		Accept: func(resp *http.Response) error {
			blocks := d.session.blocksOf(resp.Body, maxPath)
			defer blocks.close()
			err := d.walkAlong(blocks, needsTable)
			if err == nil || isUnavailable(err) {
				return err
			}
			return gateway.Stop(err)
		},
		Failed: d.session.Failed,
	})
}

// walkAlong follows the path through the blocks as they come, and streams the file at
// its end.
func (d *delivery) walkAlong(blocks *carBlocks, needsTable bool) (err error) {
	defer recovered(&err)
	c, err := unixfs.Walk(d.ctx, blocks.get, d.at.Root, d.at.Path)
	if err != nil {
		return err
	}
	block, err := blocks.get(d.ctx, c)
	if err != nil {
		return err
	}
	f, err := d.straightFile(unixfs.Block{CID: c, Data: block}, needsTable)
	if err != nil {
		return err
	}
	blocks.leaves = true
	blocks.body.N += 2 * f.Size
	d.mu.Lock()
	d.to = f.Size
	d.mu.Unlock()
	return d.stream(*f, blocks.get, blocks.progress)
}

func (d *delivery) straightFile(first unixfs.Block, needsTable bool) (*File, error) {
	if needsTable {
		return d.session.fileOf(d.ctx, first)
	}
	size, err := unixfs.FileSize(first)
	if err != nil {
		return nil, err
	}
	return &File{CID: first.CID, Size: size}, nil
}

// mayGoOn reports whether other formats may bring the rest after straight failed.
func (d *delivery) mayGoOn(err error) bool {
	_, all := errors.AsType[gateway.Error](err)
	return isUnavailable(err) || all && d.started || mayHaveAnotherForm(err)
}
