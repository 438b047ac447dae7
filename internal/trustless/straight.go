package trustless

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// straight delivers a file of which nothing is known yet in one round trip, from
// gateways that serve no files: in the CAR from its root on, directories come
// before the file's nodes, and these before its leaves. What is left where one
// breaks off, other ways bring, which go on at a leaf.
func (d *delivery) straight(root cid.Cid, at string) error {
	return d.session.pool.Do(d.ctx, gateway.Exchange{
		Path:   d.path,
		Format: gateway.CAR,
		Query:  url.Values{"dag-scope": {string(entity)}},
		Accept: func(resp *http.Response) error {
			err := d.walkAlong(d.session.fromCAR(resp.Body, maxPath), root, at)
			switch {
			case isUnavailable(err) && d.started:
				return gateway.Fatal(err)
			case err == nil || isUnavailable(err):
				return err
			}
			return gateway.Stop(err)
		},
		Failed: d.session.Failed,

		Verified: true,
	})
}

// walkAlong follows a path through blocks as they come and streams the file at its
// end.
func (d *delivery) walkAlong(blocks *carBlocks, root cid.Cid, at string) (err error) {
	defer recovered(&err)
	c, err := unixfs.Walk(d.ctx, blocks.get, root, at)
	if err != nil {
		return err
	}
	first, err := blocks.get(d.ctx, c)
	if err != nil {
		return err
	}
	size, err := unixfs.FileSize(unixfs.Block{CID: c, Data: first})
	if err != nil {
		return err
	}
	blocks.leaves = true
	blocks.body.N += 2 * size
	d.file, d.to = &file{cid: c, size: size}, size
	return d.stream(blocks.get)
}

// mayGoOn reports whether other ways may bring what straight did not.
func (d *delivery) mayGoOn(err error) bool {
	_, all := errors.AsType[gateway.Error](err)
	return isUnavailable(err) || all && d.started || mayHaveAnotherForm(err)
}
