package verify

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A storedFile is a file that is no manifest, and what is wanted of it.
type storedFile struct {
	*unixfs.File
	paths []string

	outside map[digest.Algorithm]bool // digests of the file
	inside  map[digest.Algorithm]bool // digests of what it decompresses to
	config  bool                      // what it holds

	*blobReport // once it was read
}

// A blobReport is what reading a file showed.
type blobReport struct {
	err    error // why it cannot be read
	digest map[digest.Algorithm]digest.Digest
	data   []byte // of a config

	encoding blob.Encoding
	diffID   map[digest.Algorithm]digest.Digest
	broken   error // why it does not decompress
}

func newStoredFile(f *unixfs.File) *storedFile {
	return &storedFile{File: f, outside: map[digest.Algorithm]bool{}, inside: map[digest.Algorithm]bool{}}
}

// answers reports whether all that is wanted of a file is in the report.
func (r *blobReport) answers(f *storedFile) bool {
	in := func(digests map[digest.Algorithm]digest.Digest) func(digest.Algorithm) bool {
		return func(a digest.Algorithm) bool { return digests[a] == "" }
	}
	return r != nil && (r.err != nil ||
		!slices.ContainsFunc(slices.Collect(maps.Keys(f.outside)), in(r.digest)) &&
			(r.broken != nil || !slices.ContainsFunc(slices.Collect(maps.Keys(f.inside)), in(r.diffID))) &&
			(r.data != nil || !f.config))
}

// readBlobs reads files, as many at once as there are processors.
func (t *treeCheck) readBlobs(files []*storedFile) {
	slices.SortFunc(files, func(a, b *storedFile) int {
		return cmp.Or(cmp.Compare(b.Table.Size(), a.Table.Size()), slices.Compare(a.paths, b.paths))
	})
	todo := make(chan *storedFile)
	var readers sync.WaitGroup
	for range min(len(files), runtime.GOMAXPROCS(0)) {
		readers.Go(func() {
			for f := range todo {
				f.blobReport = t.readOnce(f)
			}
		})
	}
	for _, f := range files {
		todo <- f
	}
	close(todo)
	readers.Wait()
}

func (t *treeCheck) readOnce(f *storedFile) *blobReport {
	key := f.CID.KeyString()
	t.mu.Lock()
	r := t.blobs[key]
	t.mu.Unlock()
	if !r.answers(f) {
		r = readStored(t.ctx, t.from, f)
		t.mu.Lock()
		t.blobs[key] = r
		t.mu.Unlock()
	}
	if r.err != nil {
		t.fault(f.paths[0], f.CID, r.err)
	}
	return r
}

// readStored reads a file to its end. Nothing bounds what a layer decompresses to:
// it is counted and not kept, and the context ends it.
func readStored(ctx context.Context, from origin.Origin, f *storedFile) *blobReport {
	content, err := from.Open(ctx, f.File)
	if err != nil {
		return &blobReport{err: err}
	}
	defer content.Close()
	sums := newDigesters(f.outside)
	to := []io.Writer{ctxio.Writer(ctx), sums}
	var data bytes.Buffer
	if f.config {
		to = append(to, &data)
	}
	look := func(error) *blobReport { return new(blobReport) }
	if len(f.inside) > 0 {
		var w io.Writer
		w, look = lookInside(f.inside)
		to = append(to, w)
	}
	_, err = io.Copy(io.MultiWriter(to...), content)
	r := look(err)
	r.err, r.digest, r.data = err, sums.digests(), data.Bytes()
	return r
}

// lookInside returns where to write a layer and, for when that is done or has
// failed, a function that returns what was in it.
func lookInside(algorithms map[digest.Algorithm]bool) (io.Writer, func(error) *blobReport) {
	pr, pw := io.Pipe()
	r := new(blobReport)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		sums := newDigesters(algorithms)
		if r.encoding, r.broken = blob.Decompress(pr, sums); r.broken == nil {
			r.diffID = sums.digests()
		}
		// Whatever is wrong inside, the outside is read to its end.
		io.Copy(io.Discard, pr)
	}()
	return pw, func(err error) *blobReport {
		pw.CloseWithError(err)
		<-looked
		return r
	}
}

// digesters make digests by several algorithms at once.
type digesters []digest.Digester

func newDigesters(algorithms map[digest.Algorithm]bool) digesters {
	var all digesters
	for a := range algorithms {
		all = append(all, a.Digester())
	}
	return all
}

func (all digesters) Write(p []byte) (int, error) {
	for _, d := range all {
		d.Hash().Write(p)
	}
	return len(p), nil
}

func (all digesters) digests() map[digest.Algorithm]digest.Digest {
	sums := map[digest.Algorithm]digest.Digest{}
	for _, d := range all {
		sums[d.Digest().Algorithm()] = d.Digest()
	}
	return sums
}
