package trustless

import (
	"context"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
)

// Copy writes the file at a place to sink, or a part of it if part is not nil. It writes
// verified bytes only. If one gateway breaks off, another continues. If none can, the
// error says why, and the sink has fewer bytes than Start announced.
//
// Copy requests the leaf table and the file at the same time, so verifying costs no round
// trip. A plain file costs gateways least. If no gateway serves plain files, Copy requests
// the blocks, which takes as many round trips; Start may then get a File without its table.
func (s Session) Copy(ctx context.Context, at ipfspath.Place, part *gateway.Range, sink Sink) error {
	return s.copy(ctx, at, part, sink, false)
}

// CopyWithTable is Copy for a sink that needs the leaf table in Start. If no gateway
// serves plain files, it waits for the nodes of a large file: one round trip for each
// level of nodes.
func (s Session) CopyWithTable(ctx context.Context, at ipfspath.Place, part *gateway.Range, sink Sink) error {
	return s.copy(ctx, at, part, sink, true)
}

func (s Session) copy(ctx context.Context, at ipfspath.Place, part *gateway.Range, sink Sink, needsTable bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := newDelivery(ctx, s, at, part, sink)
	defer d.end()
	if part == nil && s.pool.Refuses(gateway.Plain) && !s.isResolved(at) {
		if err := d.straight(needsTable); err == nil || !d.mayGoOn(err) {
			return err
		}
	}
	return d.run()
}
