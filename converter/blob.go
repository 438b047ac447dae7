package converter

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Blob is a config, a layer or a large manifest: complete in a file, or still
// where it was found.
type Blob struct {
	Path   string // empty where it has no file here
	Digest digest.Digest
	File   *unixfs.File

	from   func(context.Context) (io.ReadCloser, error) // where Path is empty
	ofBase bool                                         // and of no new image
}

// Open returns the blob's bytes, which are what File says.
func (b *Blob) Open(ctx context.Context) (io.ReadCloser, error) {
	if b.Path == "" {
		return b.from(ctx)
	}
	return os.Open(b.Path)
}

// Size returns the number of bytes.
func (b *Blob) Size() int64 { return b.File.Table.Size() }

// contextReader ends a long copy when its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// recut gives the blob the leaves that end at the given offsets, where the
// profile leaves a choice.
func (b *Blob) recut(ctx context.Context, p unixfs.Profile, ends []int64) error {
	f, err := os.Open(b.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	cutter := p.NewCutter()
	buf := make([]byte, unixfs.MaxLeaf)
	start := int64(0)
	for _, end := range ends {
		leaf := buf[:end-start]
		if _, err := io.ReadFull(contextReader{ctx, f}, leaf); err != nil {
			return err
		}
		cutter.WriteLeaf(leaf, sha256.Sum256(leaf))
		start = end
	}
	b.File, err = p.Layout(cutter.Table())
	return err
}

// workspace is the temporary directory in which blobs are made.
type workspace struct {
	ctx     context.Context // of the whole conversion
	dir     string
	profile unixfs.Profile
	workers int // that compress, as many as processors if 0
	blobs   atomic.Int64

	compression Compression
	level       int  // of gzip, that of format 1 if 0
	recompress  bool // layers that come compressed

	early func(leaf unixfs.Block) error // is given the leaves of what align makes, or nil

	onto     *Tree // what the root holds besides, or nil
	logf     func(format string, args ...any)
	progress Progress // or nil
}

// blobWriter writes a blob to a file, computing its digest and leaves on the
// way.
type blobWriter struct {
	io.Writer
	file    *os.File
	digest  digest.Digester
	cutter  *unixfs.Cutter
	profile unixfs.Profile
	early   func(leaf unixfs.Block) error // or nil
}

func (ws *workspace) create() (*blobWriter, error) {
	file, err := os.Create(filepath.Join(ws.dir, fmt.Sprintf("blob-%d", ws.blobs.Add(1))))
	if err != nil {
		return nil, err
	}
	w := &blobWriter{file: file, digest: digest.SHA256.Digester(), cutter: ws.profile.NewCutter(), profile: ws.profile}
	w.Writer = io.MultiWriter(file, w.digest.Hash(), w.cutter)
	return w, nil
}

// writeLeaf writes a run of bytes that is to be a leaf of its own, and has the
// given digest.
func (w *blobWriter) writeLeaf(b []byte, digest [sha256.Size]byte) error {
	if _, err := w.file.Write(b); err != nil {
		return err
	}
	w.digest.Hash().Write(b)
	w.cutter.WriteLeaf(b, digest)
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

// abandon removes what was written. The workspace goes with the destination,
// but a bad archive should not fill the disk first.
func (w *blobWriter) abandon() {
	w.file.Close()
	os.Remove(w.file.Name())
}

// keep copies r, as it is, into a blob.
func (ws *workspace) keep(r io.Reader) (*Blob, error) {
	w, err := ws.create()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, contextReader{ws.ctx, r}); err != nil {
		w.abandon()
		return nil, err
	}
	return w.finish()
}
