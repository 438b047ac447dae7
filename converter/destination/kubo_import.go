package destination

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A kuboImport is a dag/import request that is being written. It has two CARs: one
// with all blocks and no root, and one with the root and no blocks. Kubo pins the
// root after it has imported everything. So blocks can be sent before the root is
// known.
//
// During the request, Kubo holds its pin lock, so its garbage collector removes no
// blocks that are not pinned yet. Nor can it collect any garbage then. So a request
// that sends nothing for some time is given up.
type kuboImport struct {
	node    *kuboCaller
	ctx     context.Context
	cancel  context.CancelCauseFunc
	timer   *time.Timer // runs while nothing is sent and nothing is taken
	writing atomic.Bool // whether it is the node's turn
	waiting atomic.Bool // whether logf was called for this stall

	pipe   *io.PipeWriter
	form   *multipart.Writer
	buffer *bufio.Writer // before the first part of the form
	car    *car.Writer

	answer importAnswer
	ended  chan struct{} // closed when the node has answered
	err    error         // of the request, once ended
}

var (
	errStalled  = errors.New("it neither takes what is sent to it nor answers")
	errAnswered = errors.New("it answered before it had everything")

	// errIdle is the error of a request that was given up because there was
	// nothing to send.
	errIdle = errors.New("the request was given up")

	// errDied is the error of a node that stops during a request.
	errDied = errors.New("the node stopped while images were sent to it")
)

// newImport begins a request, which ends with finish or abort, or with ctx.
func (k *kuboCaller) newImport(ctx context.Context) *kuboImport {
	ctx, cancel := context.WithCancelCause(ctx)
	pr, pw := io.Pipe()
	i := &kuboImport{node: k, ctx: ctx, cancel: cancel, pipe: pw, ended: make(chan struct{})}
	i.timer = time.AfterFunc(k.stall, i.late)
	i.form = multipart.NewWriter(i)
	// Canceling a request waits for the reader of its body.
	context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer close(i.ended)
		query := url.Values{"pin-roots": {"true"}}
		err := k.call(ctx, "dag/import", query, i.form.FormDataContentType(), pr, i.answer.read)
		i.timer.Stop()
		i.err = i.explain(err)
		pr.Close() // what the node did not read is not sent
	}()
	return i
}

// explain tells a node that died from one that failed.
func (i *kuboImport) explain(err error) error {
	if errors.Is(err, kubo.ErrNoAnswer) {
		return err
	}
	_, network := errors.AsType[net.Error](err)
	broken := network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if broken && i.ctx.Err() == nil && !i.node.isAlive(i.ctx) {
		return fmt.Errorf("%w: %w", errDied, err)
	}
	return err
}

// late is called when nothing has gone through for some time.
func (i *kuboImport) late() {
	if !i.writing.Load() {
		i.cancel(errIdle)
		return
	}
	if !i.node.isAlive(i.ctx) {
		i.cancel(errStalled)
		return
	}
	if i.ctx.Err() == nil && !i.waiting.Swap(true) {
		i.node.logf("the IPFS node at %s is alive and takes nothing for now, as it does while it collects garbage: waiting for it", i.node.node)
	}
	i.timer.Reset(i.node.stall)
}

// Write sends a part of the form.
func (i *kuboImport) Write(p []byte) (int, error) {
	i.writing.Store(true)
	defer i.writing.Store(false)
	n, err := i.pipe.Write(p)
	i.waiting.Store(false)
	i.timer.Reset(i.node.stall)
	return n, err
}

// put sends a block.
func (i *kuboImport) put(b unixfs.Block) error {
	if err := i.begin(); err != nil {
		return i.failed(err)
	}
	if err := i.car.Put(b); err != nil {
		return i.failed(err)
	}
	return nil
}

// begin begins the CAR of all blocks.
func (i *kuboImport) begin() error {
	if i.car != nil {
		return nil
	}
	part, err := i.form.CreateFormFile("file", "blocks.car")
	if err != nil {
		return err
	}
	i.buffer = bufio.NewWriterSize(part, 1<<20)
	i.car, err = car.NewWriter(i.buffer)
	return err
}

// failed returns why nothing more can be sent, preferably in the words of the node.
func (i *kuboImport) failed(err error) error {
	i.pipe.CloseWithError(err) // the call fails with err, if it has not ended
	<-i.ended
	if i.err != nil {
		return i.err
	}
	return errAnswered
}

// finish sends the tree's blocks that have not been sent, then the root, and reads
// the answer.
func (i *kuboImport) finish(ctx context.Context, t *tree.Tree) error {
	defer i.cancel(nil)
	if err := i.begin(); err != nil {
		return i.failed(err)
	}
	if err := t.WriteBlocks(ctx, i.car.Put); err != nil {
		return i.failed(err)
	}
	if err := i.writeRoot(t.Root.CID); err != nil {
		return i.failed(err)
	}
	i.writing.Store(true)
	i.timer.Reset(i.node.pin)
	i.pipe.Close()
	<-i.ended
	if i.err != nil {
		return i.err
	}
	return i.answer.check(t.Root.CID)
}

// writeRoot ends the CAR of all blocks and writes the CAR of the root.
func (i *kuboImport) writeRoot(root cid.Cid) error {
	if err := i.buffer.Flush(); err != nil {
		return err
	}
	part, err := i.form.CreateFormFile("file", "root.car")
	if err != nil {
		return err
	}
	if _, err := car.NewWriter(part, root); err != nil {
		return err
	}
	return i.form.Close()
}

// abort ends the request if it has not ended.
func (i *kuboImport) abort(why error) {
	i.cancel(why)
	<-i.ended
}

// An importAnswer is the answer to dag/import: for each root, whether it was pinned.
type importAnswer struct{ roots []importedRoot }

type importedRoot struct {
	Cid struct {
		Link string `json:"/"`
	}
	PinErrorMsg string
}

func (a *importAnswer) read(r io.Reader) error {
	decoder := json.NewDecoder(r)
	for {
		var line struct{ Root *importedRoot }
		err := decoder.Decode(&line)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading its answer: %w", err)
		}
		if line.Root != nil {
			a.roots = append(a.roots, *line.Root)
		}
	}
}

// check returns an error unless the answer says that our root was pinned. A status of
// 200 does not promise it.
func (a *importAnswer) check(root cid.Cid) error {
	for _, r := range a.roots {
		c, err := cid.Decode(r.Cid.Link)
		if err != nil || !c.Equals(root) {
			continue
		}
		if r.PinErrorMsg != "" {
			return fmt.Errorf("pinning %s: %s", root, r.PinErrorMsg)
		}
		return nil
	}
	return fmt.Errorf("it does not say that %s is pinned", root)
}
