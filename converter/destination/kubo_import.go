package destination

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A kuboImport is a dag/import request while it is written. It has two CARs: all
// blocks under no root, and a root with no blocks, which is pinned when
// everything was imported. So blocks can be sent before the root is known.
//
// Kubo holds its pin lock for as long as the request takes, so its garbage
// collector cannot take blocks of a DAG that is not pinned yet. Nor can it do
// anything else then, so a request to which nothing is written is given up.
type kuboImport struct {
	d       *Kubo
	cancel  context.CancelCauseFunc
	timer   *time.Timer // of stalling and idling
	writing atomic.Bool

	pipe   *io.PipeWriter
	form   *multipart.Writer
	buffer *bufio.Writer // before the form's first part
	car    *car.Writer

	answer importAnswer
	ended  chan struct{} // closed when the node has answered
	err    error         // its error, once ended
}

var (
	errStalled  = errors.New("it neither takes what is sent to it nor answers")
	errAnswered = errors.New("it answers before it has everything")

	// errIdle says that we had nothing to send for too long.
	errIdle = errors.New("the request was given up")
)

// newImport begins a request, which ends with finish or abort, or with ctx.
func (d *Kubo) newImport(ctx context.Context) *kuboImport {
	ctx, cancel := context.WithCancelCause(ctx)
	pr, pw := io.Pipe()
	i := &kuboImport{d: d, cancel: cancel, pipe: pw, ended: make(chan struct{})}
	i.timer = time.AfterFunc(d.stall, i.late)
	i.form = multipart.NewWriter(i)
	// A request that is given up waits for whoever reads its body.
	context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer close(i.ended)
		query := url.Values{"pin-roots": {"true"}}
		i.err = d.call(ctx, "dag/import", query, i.form.FormDataContentType(), pr, i.answer.read)
		i.timer.Stop()
		pr.Close() // what the node did not want to hear is not sent
	}()
	return i
}

// late is called when nothing went through for too long.
func (i *kuboImport) late() {
	if i.writing.Load() {
		i.cancel(errStalled)
	} else {
		i.cancel(errIdle)
	}
}

// Write sends a part of the form.
func (i *kuboImport) Write(p []byte) (int, error) {
	i.writing.Store(true)
	defer i.writing.Store(false)
	n, err := i.pipe.Write(p)
	i.timer.Reset(i.d.stall)
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

// failed returns why nothing more can be sent: what the node said, if it did.
func (i *kuboImport) failed(err error) error {
	i.pipe.CloseWithError(err) // and so the call fails with it, if it has not ended
	<-i.ended
	if i.err != nil {
		return i.err
	}
	return errAnswered
}

// finish sends those of the tree's blocks that were not sent yet, and the root,
// and reads the answer.
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
	i.writing.Store(true) // it is the node's turn
	i.timer.Reset(i.d.pin)
	i.pipe.Close()
	<-i.ended
	if i.err != nil {
		return i.err
	}
	return i.answer.check(t.Root.CID)
}

// writeRoot ends the CAR of all blocks and writes that of the root.
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

// abort ends the request, if it has not ended.
func (i *kuboImport) abort(why error) {
	i.cancel(why)
	<-i.ended
}

// importAnswer is what dag/import says: of each root, whether it was pinned.
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

// check looks for our root among those pinned, since an answer of 200 promises
// nothing.
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
