package destination

import (
	"context"
	"io"
	"net/url"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
)

const (
	// kuboStall is how long Kubo may accept no bytes before the caller checks that
	// it still responds.
	kuboStall = time.Minute

	// kuboPin is the same after Kubo has every block, when it walks the whole DAG.
	kuboPin = 10 * time.Minute

	// kuboAnswer is how long Kubo may take to respond to that check.
	kuboAnswer = 10 * time.Second

	kuboMaxAnswer = 1 << 20 // bytes
	kuboMaxName   = 255     // bytes of a pin's name
)

// A kuboCaller calls a node, and knows how long to wait for it.
type kuboCaller struct {
	node  *kubo.Node
	stall time.Duration // see kuboStall
	pin   time.Duration // see kuboPin
	logf  func(string, ...any)
}

// call sends a command, and lets read read its answer.
func (k *kuboCaller) call(ctx context.Context, command string, query url.Values, contentType string, body io.Reader, read func(io.Reader) error) error {
	answer, err := k.node.Call(ctx, command, query, contentType, body)
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
func (k *kuboCaller) isAlive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, min(k.stall, kuboAnswer))
	defer cancel()
	return k.call(ctx, "version", nil, "", nil, drain) == nil
}
