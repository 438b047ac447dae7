package export

import (
	"archive/tar"
	"bufio"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
)

// write writes the archive: what was checked, blobs, and then what names them.
func (e *exporter) write(w io.Writer) error {
	buffered := bufio.NewWriterSize(io.MultiWriter(ctxio.Writer(e.ctx), w), 64<<10)
	tw := tar.NewWriter(buffered)
	for _, d := range e.documents {
		if err := writeEntry(tw, ocilayout.BlobPath(d.digest), d.data); err != nil {
			return err
		}
	}
	for _, b := range e.blobs {
		if err := e.writeBlob(tw, b); err != nil {
			return err
		}
	}
	if err := e.writeNames(tw); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// writeNames writes what makes of the blobs an OCI layout and what Docker saves.
func (e *exporter) writeNames(tw *tar.Writer) error {
	e.index.SchemaVersion = 2
	e.index.MediaType = v1.MediaTypeImageIndex
	if err := writeJSON(tw, ocilayout.Index, e.index); err != nil {
		return err
	}
	if len(e.docker) > 0 { // an empty list would have Docker load nothing, and say so to nobody
		if err := writeJSON(tw, ocilayout.DockerList, e.docker); err != nil {
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

// writeHeader begins an entry, which has no time and nobody's ownership.
func writeHeader(tw *tar.Writer, name string, size int64) error {
	return tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644})
}

// writeBlob writes a blob, holding its leaves against their CIDs and the whole
// against the digest. A store knows which digest belongs to which leaves, and
// there the leaves are enough.
func (e *exporter) writeBlob(tw *tar.Writer, b exportedBlob) error {
	if err := writeHeader(tw, ocilayout.BlobPath(b.digest), b.size); err != nil {
		return err
	}
	r, err := e.open(b)
	if err != nil {
		return blobError(b.digest, err)
	}
	defer r.Close()
	if e.from.Recorded(b.file.CID) == b.digest {
		_, err := io.Copy(tw, r)
		return blobError(b.digest, err)
	}
	sum := b.digest.Algorithm().Digester()
	if _, err := io.Copy(hashingWriter{tw, sum.Hash()}, r); err != nil {
		return blobError(b.digest, err)
	}
	if sum.Digest() != b.digest {
		return fmt.Errorf("blob %w", digestError(b.digest))
	}
	return nil
}

func (e *exporter) open(b exportedBlob) (io.ReadCloser, error) {
	f := &b.file
	if f.Table == nil {
		var err error
		if f, err = e.from.File(e.ctx, f.CID); err != nil {
			return nil, err
		}
	}
	return e.from.Open(e.ctx, f)
}

func blobError(d digest.Digest, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("blob %s: %w", d, err)
}

// A hashingWriter hashes what it writes, at the same time.
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
