package blob

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Form says how blobs are made. The zero value is format 1.
type Form struct {
	Profile     unixfs.Profile // unixfs.V1 if zero
	Compression Compression    // Gzip if empty
	Level       int            // of gzip, from 1 to MaxLevel; DefaultLevel if 0
	Recompress  bool           // align layers that come compressed, too
	Workers     int            // that compress; one for each processor if 0
}

// complete gives the fields that are not set their values in format 1.
func (f Form) complete() (Form, error) {
	if f.Profile == (unixfs.Profile{}) {
		f.Profile = unixfs.V1
	}
	f.Compression = cmp.Or(f.Compression, Gzip)
	f.Level = cmp.Or(f.Level, DefaultLevel)
	f.Workers = cmp.Or(f.Workers, min(runtime.GOMAXPROCS(0), maxWorkers))
	if f.Level < 1 || f.Level > MaxLevel {
		return f, fmt.Errorf("gzip has no level %d: use one from 1 to %d", f.Level, MaxLevel)
	}
	return f, nil
}

// maxWorkers bounds memory: each worker takes 5 MB.
const maxWorkers = 16

// A Workspace is the temporary directory in which blobs are made.
type Workspace struct {
	Form
	Context  context.Context // of the whole conversion
	Dir      string
	Progress Progress // or nil

	// Early is called with the leaves of aligned layers as they are made, if it is not
	// nil. It must not keep their data.
	Early func(leaf unixfs.Block) error

	blobs  atomic.Int64 // how many were made
	plain  atomic.Int64 // bytes of files that wait as they are
	growth growth
}

// NewWorkspace returns a workspace in a directory that exists. progress may be nil.
func NewWorkspace(ctx context.Context, dir string, f Form, progress Progress) (*Workspace, error) {
	f, err := f.complete()
	if err != nil {
		return nil, err
	}
	return &Workspace{Form: f, Context: ctx, Dir: dir, Progress: progress}, nil
}

// Written returns how many bytes of blobs were written, those of removed blobs
// included.
func (ws *Workspace) Written() int64 { return ws.growth.written.Load() }

// Source returns a reader of a source, before any decompression. Its bytes raise the
// limit of the blobs that may be written.
func (ws *Workspace) Source(r io.Reader) io.Reader { return &sourceReader{r, &ws.growth} }

const (
	// maxGrowth is how many bytes of blobs may be written for each byte that came from
	// the source. Real images grow less than tenfold.
	maxGrowth = 200

	// freeGrowth is how many bytes may be written in any case.
	freeGrowth = 256 << 20
)

// growth bounds the blobs that are written by the bytes that came from the source. A few
// bytes, well compressed, stand for any number of files and for layers of any size.
type growth struct{ read, written atomic.Int64 }

// add counts bytes that are to be written, those of removed blobs included.
func (g *growth) add(n int) error {
	read, written := g.read.Load(), g.written.Add(int64(n))
	if written > freeGrowth+maxGrowth*read {
		return fmt.Errorf("the first %d bytes of the input have become %d MiB on disk, far more than in any real image: if it is sound, decompress it first", read, written>>20)
	}
	return nil
}

type sourceReader struct {
	io.Reader
	growth *growth
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.growth.read.Add(int64(n))
	return n, err
}

// blobWriter writes a blob to a file, and computes its digest and leaves.
type blobWriter struct {
	io.Writer
	file    *os.File
	digest  digest.Digester
	cutter  cutter
	leaves  *unixfs.Cutter // the cutter, if the caller writes leaves
	profile unixfs.Profile
	early   func(leaf unixfs.Block) error // or nil
	growth  *growth                       // of the workspace
}

// A cutter cuts the bytes that are written to it into leaves.
type cutter interface {
	io.Writer
	Table() *unixfs.Table
}

func (ws *Workspace) create(c cutter) (*blobWriter, error) {
	file, err := os.Create(filepath.Join(ws.Dir, fmt.Sprintf("blob-%d", ws.blobs.Add(1))))
	if err != nil {
		return nil, err
	}
	w := &blobWriter{file: file, digest: digest.SHA256.Digester(), cutter: c, profile: ws.Profile, growth: &ws.growth}
	w.Writer = io.MultiWriter(grower{w.growth}, file, w.digest.Hash(), w.cutter)
	return w, nil
}

// A grower fails before more is written than the source allows.
type grower struct{ *growth }

func (g grower) Write(b []byte) (int, error) {
	if err := g.add(len(b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// writeLeaf writes bytes that are a leaf of their own, with the given digest.
func (w *blobWriter) writeLeaf(b []byte, digest [sha256.Size]byte) error {
	if err := w.growth.add(len(b)); err != nil {
		return err
	}
	if _, err := w.file.Write(b); err != nil {
		return err
	}
	w.digest.Hash().Write(b)
	w.leaves.WriteLeaf(b, digest)
	if w.early == nil {
		return nil
	}
	table := unixfs.Table{Leaves: []unixfs.Leaf{{Digest: digest, End: int64(len(b))}}}
	return w.early(table.Block(0, b))
}

func (w *blobWriter) finish() (*Blob, error) {
	if err := w.file.Close(); err != nil {
		return nil, err
	}
	file, err := w.profile.Layout(w.cutter.Table())
	if err != nil {
		return nil, err
	}
	return &Blob{Path: w.file.Name(), Digest: w.digest.Digest(), File: file}, nil
}

// abandon removes the file. The workspace is removed with the destination, but a bad
// archive must not fill the disk before.
func (w *blobWriter) abandon() {
	w.file.Close()
	os.Remove(w.file.Name())
}

// Keep copies r, as it is, into a blob with leaves of the profile's length.
func (ws *Workspace) Keep(r io.Reader) (*Blob, error) { return ws.keep(r, ws.Profile.NewCutter()) }

func (ws *Workspace) keep(r io.Reader, c cutter) (*Blob, error) {
	w, err := ws.create(c)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, ctxio.Reader(ws.Context, r)); err != nil {
		w.abandon()
		return nil, err
	}
	return w.finish()
}
