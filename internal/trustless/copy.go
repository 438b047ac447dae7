package trustless

import (
	"context"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
)

// Copy writes the file at a place to sink, or a part of it if part is not nil.
// Only verified bytes are written. If one gateway breaks off, another continues.
// If none can, the error says why, and the sink has got fewer bytes than Start
// said.
//
// The file's leaf table and the file itself are asked for at the same time, so
// that verifying costs no round trip. The file as it is costs gateways least;
// where none serves that, its blocks are asked for, in the same number of round
// trips. The sink may be told of a File without table then, though it has one.
func (s Session) Copy(ctx context.Context, at ipfspath.Place, part *gateway.Range, sink Sink) error {
	return s.copy(ctx, at, part, sink, false)
}

// CopyWithTable is Copy for a sink that needs the leaf table in Start. Where no
// gateway serves files as they are, it waits for the nodes of a large file, which
// costs a round trip for each level of them.
func (s Session) CopyWithTable(ctx context.Context, at ipfspath.Place, part *gateway.Range, sink Sink) error {
	return s.copy(ctx, at, part, sink, true)
}

func (s Session) copy(ctx context.Context, at ipfspath.Place, part *gateway.Range, sink Sink, needsTable bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d := newDelivery(ctx, s, at, part, sink)
	if part == nil && s.pool.Refuses(gateway.Plain) && !s.isResolved(at) {
		if err := d.straight(needsTable); err == nil || !d.mayGoOn(err) {
			return err
		}
	}
	return d.run()
}
