package export

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// maxLeaves is how many leaves are kept in memory. The nodes of further blobs are read
// again.
const maxLeaves = 1 << 19

// An archive is what is to be written.
type archive struct {
	documents []document
	blobs     []blob
	sizes     map[digest.Digest]int64 // of both
	memory    int                     // bytes that documents take
	leaves    int                     // of blobs

	index  v1.Index
	docker []ocilayout.DockerEntry
}

// A document is a manifest or config.
type document struct {
	digest digest.Digest
	data   []byte
}

// A blob is a layer, or anything else that is written while it is read.
type blob struct {
	digest digest.Digest
	file   unixfs.File // without nodes and leaves beyond maxLeaves
	size   int64
}

func newArchive() archive { return archive{sizes: map[digest.Digest]int64{}} }

func (a *archive) addDocument(d digest.Digest, data []byte) error {
	if _, known := a.sizes[d]; known {
		return nil
	}
	if err := a.hold(len(data)); err != nil {
		return err
	}
	a.sizes[d] = int64(len(data))
	a.documents = append(a.documents, document{d, data})
	return nil
}

// hold counts bytes of memory that manifests and configs take until the end.
func (a *archive) hold(n int) error {
	if a.memory += n; a.memory > manifest.MaxMemory {
		return fmt.Errorf("the manifests and configs take more than %d bytes of memory", manifest.MaxMemory)
	}
	return nil
}

func (a *archive) addBlob(d digest.Digest, f *unixfs.File) {
	size := f.Table.Size()
	if a.leaves += len(f.Table.Leaves); a.leaves > maxLeaves {
		f = &unixfs.File{Node: f.Node}
	}
	a.sizes[d] = size
	a.blobs = append(a.blobs, blob{d, *f, size})
}

// list puts into Docker's list one of the images that a manifest or index stands for:
// this machine's, or the only one. It returns false if there are images and none is
// for this machine.
func (a *archive) list(images []dockerImage, name imageName) bool {
	if len(images) == 0 { // an artifact
		return true
	}
	chosen := &images[0]
	if len(images) > 1 {
		chosen = forThisMachine(images)
	}
	if chosen == nil {
		return false
	}
	entry := chosen.DockerEntry
	i := slices.IndexFunc(a.docker, func(other ocilayout.DockerEntry) bool {
		return other.Config == entry.Config && slices.Equal(other.Layers, entry.Layers)
	})
	if i < 0 {
		i = len(a.docker)
		a.docker = append(a.docker, entry)
	}
	if name.familiar != "" {
		a.docker[i].RepoTags = append(a.docker[i].RepoTags, name.familiar)
	}
	return true
}

// write writes the documents, the blobs, and then the files that name them.
func (a *archive) write(ctx context.Context, from origin.Origin, w io.Writer) error {
	buffered := bufio.NewWriterSize(io.MultiWriter(ctxio.Writer(ctx), w), 64<<10)
	tw := tar.NewWriter(buffered)
	for _, d := range a.documents {
		if err := writeEntry(tw, ocilayout.BlobPath(d.digest), d.data); err != nil {
			return err
		}
	}
	for _, b := range a.blobs {
		if err := b.write(ctx, from, tw); err != nil {
			return fmt.Errorf("blob %s: %w", b.digest, err)
		}
	}
	if err := a.writeNames(tw); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// writeNames writes the files that make of the blobs an OCI layout and an archive of
// Docker.
func (a *archive) writeNames(tw *tar.Writer) error {
	a.index.SchemaVersion = 2
	a.index.MediaType = v1.MediaTypeImageIndex
	if err := writeJSON(tw, ocilayout.Index, a.index); err != nil {
		return err
	}
	if len(a.docker) > 0 { // with an empty list, Docker loads nothing and reports no error
		if err := writeJSON(tw, ocilayout.DockerList, a.docker); err != nil {
			return err
		}
	}
	return writeJSON(tw, v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion})
}

func writeJSON(tw *tar.Writer, name string, value any) error {
	data, err := manifest.Encode(value)
	if err != nil {
		return err
	}
	return writeEntry(tw, name, data)
}

func writeEntry(tw *tar.Writer, name string, data []byte) error {
	if err := writeHeader(tw, name, int64(len(data))); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

// writeHeader begins an entry, without a time or an owner.
func writeHeader(tw *tar.Writer, name string, size int64) error {
	return tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644})
}

// write writes a blob, and checks its leaves against their CIDs and all of it
// against its digest. Where a store has recorded the digest of these leaves, checking
// the leaves is enough.
func (b *blob) write(ctx context.Context, from origin.Origin, tw *tar.Writer) error {
	if err := writeHeader(tw, ocilayout.BlobPath(b.digest), b.size); err != nil {
		return err
	}
	r, err := b.open(ctx, from)
	if err != nil {
		return err
	}
	defer r.Close()
	if from.RecordedDigest(b.file.CID) == b.digest {
		_, err := io.Copy(tw, r)
		return err
	}
	sum := b.digest.Algorithm().Digester()
	if _, err := io.Copy(hashingWriter{tw, sum.Hash()}, r); err != nil {
		return err
	}
	if sum.Digest() != b.digest {
		return errDigest
	}
	return nil
}

func (b *blob) open(ctx context.Context, from origin.Origin) (io.ReadCloser, error) {
	f := &b.file
	if f.Table == nil {
		var err error
		if f, err = from.File(ctx, f.CID); err != nil {
			return nil, err
		}
	}
	return from.Open(ctx, f)
}

var errDigest = errors.New("the content has another digest")

// A hashingWriter hashes and writes at the same time.
type hashingWriter struct {
	w   io.Writer
	sum hash.Hash
}

func (h hashingWriter) Write(p []byte) (int, error) {
	var hashed sync.WaitGroup
	hashed.Go(func() { h.sum.Write(p) })
	defer hashed.Wait()
	return h.w.Write(p)
}
