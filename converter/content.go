package converter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A content is one file of the archive. It waits in the workspace in the form
// that it will most likely be wanted in, and is turned into the other when the
// manifests want that.
type content struct {
	ws     *workspace
	name   string        // in the archive
	digest digest.Digest // of its bytes in the archive
	size   int64         // of its bytes in the archive

	// diffID is the digest of what it decompresses to: its own where it is not
	// compressed, and none where it is broken.
	diffID   digest.Digest
	encoding encoding // in the archive

	kept    *Blob // the bytes of the archive
	gzipped *Blob // compressed by us

	layers []digest.Digest // what diffIDs has read
}

type encoding int

const (
	uncompressed encoding = iota
	gzipEncoding
	zstdEncoding
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// readContent takes in one file of the archive. Documents and compressed layers
// are kept, and everything else is taken for the tar of a layer.
func (ws *workspace) readContent(name string, size int64, r io.Reader) (*content, error) {
	c := &content{ws: ws, name: name, size: size}
	sum := digest.SHA256.Digester()
	br := bufio.NewReaderSize(io.TeeReader(r, sum.Hash()), 64<<10)
	magic, err := br.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c.encoding = encodingOf(magic)
	switch {
	case c.encoding != uncompressed:
		c.kept, c.diffID, err = ws.keepCompressed(br)
	case size < smallestTar, size <= layout.MaxManifest && isDocument(magic):
		c.kept, err = ws.keep(br)
	default:
		c.gzipped, err = ws.compress(br)
	}
	if err != nil {
		return nil, err
	}
	c.digest = sum.Digest()
	if c.encoding == uncompressed {
		c.diffID = c.digest
	}
	return c, nil
}

// smallestTar is the length of a tar without entries: two zero blocks.
const smallestTar = 1024

func encodingOf(beginning []byte) encoding {
	switch {
	case bytes.HasPrefix(beginning, gzipMagic):
		return gzipEncoding
	case bytes.HasPrefix(beginning, zstdMagic):
		return zstdEncoding
	}
	return uncompressed
}

// isDocument reports whether what begins so may be JSON. A tar begins with a
// file's name.
func isDocument(beginning []byte) bool {
	return len(beginning) == 0 || bytes.IndexByte([]byte("{[ \t\r\n"), beginning[0]) >= 0
}

// keepCompressed keeps a compressed layer and returns the digest of what it
// decompresses to, or none where it is broken: whether that matters is for the
// manifests to say.
func (ws *workspace) keepCompressed(r io.Reader) (*Blob, digest.Digest, error) {
	pr, pw := io.Pipe()
	inside := make(chan layerInside, 1)
	go func() {
		inside <- look(pr)
		// Whatever is wrong inside, the outside is read to its end.
		io.Copy(io.Discard, pr)
	}()
	blob, err := ws.keep(io.TeeReader(r, pw))
	pw.CloseWithError(err)
	layer := <-inside
	if err != nil || layer.cuts == nil {
		return blob, layer.diffID, err
	}
	return blob, layer.diffID, blob.recut(ws.ctx, ws.profile, layer.cuts)
}

// layerInside is what decompressing a layer shows.
type layerInside struct {
	diffID digest.Digest // empty where the layer is broken
	cuts   []int64       // where its leaves should end, nil if anywhere
}

func look(r io.Reader) layerInside {
	br := bufio.NewReader(r)
	if magic, _ := br.Peek(len(zstdMagic)); encodingOf(magic) == zstdEncoding {
		return lookIntoZstd(br)
	}
	z, err := newMemberReader(br)
	if err != nil {
		return layerInside{}
	}
	d, err := digest.SHA256.FromReader(z)
	if err != nil {
		return layerInside{}
	}
	return layerInside{d, z.cuts()}
}

func lookIntoZstd(r io.Reader) layerInside {
	z, err := newZstdReader(r)
	if err != nil {
		return layerInside{}
	}
	defer z.Close()
	d, err := digest.SHA256.FromReader(z)
	if err != nil {
		return layerInside{}
	}
	return layerInside{diffID: d}
}

// zstdWindow is the most memory that decompressing a layer may take, in bytes.
const zstdWindow = 128 << 20

func newZstdReader(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
}

// asIs returns the blob of the archive's own bytes.
func (c *content) asIs() (*Blob, error) {
	if c.kept != nil {
		return c.kept, nil
	}
	var err error
	c.kept, err = c.rewrite(c.gzipped, func(r io.Reader) (*Blob, error) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		return c.ws.keep(z)
	})
	return c.kept, err
}

// asLayer returns the blob of a compressed layer: as it came compressed, or
// compressed by us.
func (c *content) asLayer() (*Blob, error) {
	if c.encoding != uncompressed {
		return c.kept, nil
	}
	if c.gzipped != nil {
		return c.gzipped, nil
	}
	var err error
	c.gzipped, err = c.rewrite(c.kept, c.ws.compress)
	return c.gzipped, err
}

func (c *content) rewrite(from *Blob, to func(io.Reader) (*Blob, error)) (*Blob, error) {
	f, err := os.Open(from.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	blob, err := to(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return blob, nil
}

// layerType returns the media type of what asLayer returns.
func (c *content) layerType() string {
	if c.encoding == zstdEncoding {
		return layout.DockerLayerZstd
	}
	return layout.DockerLayerGzip
}

// diffIDs reads a config as far as it matters here: the digests of its layers
// uncompressed.
func (c *content) diffIDs() ([]digest.Digest, error) {
	if c.layers != nil {
		return c.layers, nil
	}
	data, err := c.document()
	if err != nil {
		return nil, err
	}
	var fields struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("reading config %s: %w", c.name, err)
	}
	for _, d := range fields.RootFS.DiffIDs {
		if _, err := layout.ParseDigest(d.String()); err != nil {
			return nil, fmt.Errorf("a diff_id of config %s: %w", c.name, err)
		}
	}
	c.layers = append([]digest.Digest{}, fields.RootFS.DiffIDs...)
	return c.layers, nil
}

// document returns the bytes of a config or manifest.
func (c *content) document() ([]byte, error) {
	if c.size > layout.MaxManifest {
		return nil, fmt.Errorf("%s has %d bytes, and a document at most %d", c.name, c.size, layout.MaxManifest)
	}
	blob, err := c.asIs()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(blob.Path)
}

// remove takes the content's files away.
func (c *content) remove() {
	for _, b := range []*Blob{c.kept, c.gzipped} {
		if b != nil {
			os.Remove(b.Path)
		}
	}
}
