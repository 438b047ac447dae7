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
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// answers reports whether the report has everything that has to be known of a file.
func (r *blobReport) answers(f *storedFile) bool {
	lacksOneOf := func(wanted map[digest.Algorithm]bool, known map[digest.Algorithm]digest.Digest) bool {
		for a := range wanted {
			if known[a] == "" {
				return true
			}
		}
		return false
	}
	switch {
	case r == nil:
		return false
	case r.err != nil:
		return true
	}
	return !lacksOneOf(f.outside, r.digests) && (r.broken != nil || !lacksOneOf(f.inside, r.diffIDs)) && (r.data != nil || !f.config)
}

// A blobReader reads files, and remembers what that showed.
type blobReader struct {
	from origin.Origin

	mu      sync.Mutex
	reports map[string]*blobReport // by CID
}

func newBlobReader(from origin.Origin) *blobReader {
	return &blobReader{from: from, reports: map[string]*blobReport{}}
}

// read reads the contents of a tree: configs first, since they say what layers are
// when they are decompressed.
func (b *blobReader) read(ctx context.Context, t *rootCheck) {
	b.readAll(ctx, t, t.configs())
	t.noteDiffIDs()
	var files []*storedFile
	for _, f := range t.contents {
		if f != nil && f.blobReport == nil {
			files = append(files, f)
		}
	}
	b.readAll(ctx, t, files)
}

// configs returns the configs of manifests.
func (t *rootCheck) configs() []*storedFile {
	configs := map[string]*storedFile{}
	for p, m := range t.manifests {
		name, _, _ := layout.Split(p)
		if m.Config == nil {
			continue
		}
		f := t.blob(name, m.Config.Digest)
		if f == nil || f.size > layout.MaxManifest || f.config {
			continue
		}
		if err := t.hold(2 * f.size); err != nil { // its content, and what is read of it
			t.fault(f.paths[0], f.cid, err)
			break
		}
		f.config = true
		configs[f.cid.KeyString()] = f
	}
	return slices.Collect(maps.Values(configs))
}

// noteDiffIDs notes which digests the layers of images must have when they are
// decompressed.
func (t *rootCheck) noteDiffIDs() {
	noted := map[string]bool{}
	for p, m := range t.manifests {
		name, _, _ := layout.Split(p)
		key := t.manifestKey(p)
		if noted[key] {
			continue
		}
		noted[key] = true
		config, err := t.config(name, m)
		if err != nil || config == nil || len(config.DiffIDs) != len(m.Layers) {
			continue // compare reports it
		}
		for i, d := range m.Layers {
			if f := t.blob(name, d.Digest); f != nil && m.Checked(i) {
				f.inside[config.DiffIDs[i].Algorithm()] = true
			}
		}
	}
}

// config returns the config of a manifest: nil if it could not be read, or if the
// manifest is not an image's.
func (t *rootCheck) config(name string, m *checkedManifest) (*manifest.Config, error) {
	if m.Config == nil {
		return nil, nil
	}
	f := t.blob(name, m.Config.Digest)
	if f == nil || f.blobReport == nil || f.err != nil || !f.config {
		return nil, nil
	}
	return m.Judge(f.readConfig())
}

// readConfig reads the content of a config once: many manifests may share it.
func (f *storedFile) readConfig() (*manifest.Config, error) {
	if p := &f.parsed; !p.isRead {
		p.isRead = true
		p.config, p.err = manifest.ReadConfig(f.data)
	}
	return f.parsed.config, f.parsed.err
}

// blob returns the file of a config or layer, if it is there and could be read.
func (t *rootCheck) blob(name string, d digest.Digest) *storedFile {
	return t.contents[t.entries[layout.BlobPath(name, d)].KeyString()]
}

// readAll reads files, as many at once as there are processors, the largest first.
func (b *blobReader) readAll(ctx context.Context, t *rootCheck, files []*storedFile) {
	slices.SortFunc(files, func(a, b *storedFile) int {
		return cmp.Or(cmp.Compare(b.size, a.size), slices.Compare(a.paths, b.paths))
	})
	var readers errgroup.Group
	readers.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range files {
		readers.Go(func() error {
			f.blobReport = b.readOnce(ctx, f)
			if f.err != nil {
				t.fault(f.paths[0], f.cid, f.err)
			}
			return nil
		})
	}
	_ = readers.Wait()
}

func (b *blobReader) readOnce(ctx context.Context, f *storedFile) *blobReport {
	key := f.cid.KeyString()
	b.mu.Lock()
	r := b.reports[key]
	b.mu.Unlock()
	if r.answers(f) {
		return r
	}
	r = readBlob(ctx, b.from, f)
	remembered := *r
	remembered.data = nil // configs are counted for one tree
	b.mu.Lock()
	b.reports[key] = &remembered
	b.mu.Unlock()
	return r
}

// readBlob reads a file to its end. The decompressed size of a layer has no bound: the
// bytes are hashed and dropped, and reading stops when ctx is done.
func readBlob(ctx context.Context, from origin.Origin, f *storedFile) *blobReport {
	file, err := from.File(ctx, f.cid)
	if err != nil {
		return &blobReport{err: err}
	}
	content, err := from.Open(ctx, file)
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
	finish := func(error) *blobReport { return new(blobReport) }
	if len(f.inside) > 0 {
		var w io.Writer
		w, finish = decompress(f.inside)
		to = append(to, w)
	}
	_, err = io.Copy(io.MultiWriter(to...), content)
	r := finish(err)
	r.err, r.digests, r.data = err, sums.digests(), data.Bytes()
	return r
}

// decompress returns where to write a layer, and a function to call when that is done
// or has failed. The function returns what was in the layer.
func decompress(algorithms map[digest.Algorithm]bool) (io.Writer, func(error) *blobReport) {
	pr, pw := io.Pipe()
	r := new(blobReport)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sums := newDigesters(algorithms)
		if r.encoding, r.broken = blob.Decompress(pr, sums); r.broken == nil {
			r.diffIDs = sums.digests()
		}
		io.Copy(io.Discard, pr) // so that the writer reaches the end
	}()
	return pw, func(err error) *blobReport {
		pw.CloseWithError(err)
		<-done
		return r
	}
}

// digesters compute digests with several algorithms at once.
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
