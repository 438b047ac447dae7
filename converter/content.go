package converter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/align"
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
	aligned *Blob // the tar, in the form that the layers that we align have

	layers []digest.Digest // what diffIDs has read

	// By other algorithms than sha256, once asked for.
	others, otherDiffIDs map[digest.Algorithm]digest.Digest
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

// readContent takes in one file of the archive. A tar is taken for that of a
// layer, and everything else is kept. The bytes alone decide, and not what
// somebody says of them: whatever way a content comes, it has the same leaves.
func (ws *workspace) readContent(name string, size int64, r io.Reader) (*content, error) {
	c := &content{ws: ws, name: name, size: size}
	r, end := watch(ws.progress, name, size, r)
	defer end()
	br := bufio.NewReader(r) // small, so that long reads pass it by
	beginning, err := br.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c.encoding = encodingOf(beginning)
	switch {
	case c.cameCompressed():
		err = c.keepCompressed(br)
	case !align.IsTar(beginning) && (size <= maxPlain || ws.compression == Uncompressed):
		c.kept, err = ws.keep(br)
	case ws.compression == Uncompressed:
		c.kept, err = ws.align(br, Uncompressed)
		c.aligned = c.kept
	default:
		sum := digest.SHA256.Digester()
		c.aligned, err = ws.align(io.TeeReader(br, sum.Hash()), Gzip)
		c.digest = sum.Digest()
	}
	if err != nil {
		return nil, err
	}
	if c.kept != nil {
		c.digest = c.kept.Digest
	}
	if !c.cameCompressed() {
		c.diffID = c.digest
	}
	return c, nil
}

// maxPlain is how many bytes of what is no tar are kept as they are. What claims to
// have more waits compressed, since a little of a compressed archive may stand for
// any number of bytes.
const maxPlain = 64 << 20

// tarBlock is the length of a tar's first block, by which it is known.
const tarBlock = 512

func encodingOf(beginning []byte) encoding {
	switch {
	case bytes.HasPrefix(beginning, gzipMagic):
		return gzipEncoding
	case bytes.HasPrefix(beginning, zstdMagic):
		return zstdEncoding
	}
	return uncompressed
}

func (c *content) cameCompressed() bool { return c.encoding != uncompressed }

// keepCompressed keeps a compressed layer, and looks into it on the way.
func (c *content) keepCompressed(r io.Reader) error {
	pr, pw := io.Pipe()
	var inside inside
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		var err error
		if inside, err = c.look(pr); err != nil {
			pr.CloseWithError(err) // and so keep fails with it
		}
		// Whatever is wrong inside, the outside is read to its end.
		io.Copy(io.Discard, pr)
	}()
	blob, err := c.ws.keep(io.TeeReader(r, pw))
	pw.CloseWithError(err)
	<-looked
	if err != nil {
		return err
	}
	c.kept, c.aligned, c.diffID = blob, inside.aligned, inside.diffID
	if inside.cuts == nil {
		return nil
	}
	return blob.recut(c.ws.ctx, c.ws.profile, inside.cuts)
}

// inside is what decompressing a layer shows: nothing where the layer is
// broken. Whether that matters is for the manifests to say.
type inside struct {
	diffID  digest.Digest
	cuts    []int64 // where its leaves should end, nil if anywhere
	aligned *Blob   // where it is to be recompressed
}

// look decompresses a layer. An error is not the layer's fault.
func (c *content) look(compressed io.Reader) (inside, error) {
	z, err := newDecompressor(compressed, c.encoding)
	if err != nil {
		return inside{}, nil
	}
	defer z.Close()
	sum := digest.SHA256.Digester()
	tar := &source{r: io.TeeReader(z, sum.Hash())}
	var aligned *Blob
	if c.ws.recompress {
		aligned, err = c.ws.alignInside(tar)
	} else {
		_, err = io.Copy(io.Discard, tar)
	}
	switch {
	case tar.broken:
		return inside{}, nil
	case err != nil:
		return inside{}, err
	}
	return inside{sum.Digest(), z.cuts(), aligned}, nil
}

// alignInside aligns what was in a compressed layer. What is no tar, and stays
// plain, is cut as it would be had it come so.
func (ws *workspace) alignInside(r io.Reader) (*Blob, error) {
	br := bufio.NewReader(r)
	beginning, err := br.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if ws.compression == Uncompressed && !align.IsTar(beginning) {
		return ws.keep(br)
	}
	return ws.align(br, ws.compression)
}

// A source tells whether it was reading that failed.
type source struct {
	r      io.Reader
	broken bool
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.broken = err != nil && err != io.EOF
	return n, err
}

// A decompressor reads the tar in a compressed layer.
type decompressor interface {
	io.Reader
	Close()
	cuts() []int64 // once all is read: where the layer's leaves should end, nil if anywhere
}

func newDecompressor(r io.Reader, e encoding) (decompressor, error) {
	if e == gzipEncoding {
		return newMemberReader(r)
	}
	z, err := newZstdReader(r)
	return zstdReader{z}, err
}

// zstdWindow is the most memory that decompressing a layer may take, in bytes.
const zstdWindow = 128 << 20

func newZstdReader(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
}

type zstdReader struct{ *zstd.Decoder }

func (zstdReader) cuts() []int64 { return nil }

// asIs returns the blob of the archive's own bytes.
func (c *content) asIs() (*Blob, error) {
	if c.kept != nil {
		return c.kept, nil
	}
	var err error
	c.kept, err = c.rewrite(c.aligned, gzipEncoding, Uncompressed)
	return c.kept, err
}

// asLayer returns the blob of a layer for a manifest that we write: aligned or,
// where it came compressed, perhaps as it came.
func (c *content) asLayer() (*Blob, error) {
	if c.aligned != nil {
		return c.aligned, nil
	}
	if c.cameCompressed() {
		return c.kept, nil
	}
	var err error
	c.aligned, err = c.rewrite(c.kept, uncompressed, c.ws.compression)
	return c.aligned, err
}

// rewrite makes the one blob of a tar out of the other, having checked that what
// it has read again is what came.
func (c *content) rewrite(from *Blob, e encoding, as Compression) (*Blob, error) {
	tar, err := c.ws.open(from, e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	defer tar.Close()
	sum := digest.SHA256.Digester()
	blob, err := c.ws.align(io.TeeReader(tar, sum.Hash()), as)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if got := sum.Digest(); got != c.digest {
		os.Remove(blob.Path)
		return nil, fmt.Errorf("%s was %s, and is %s when read again from %s: the disk or the memory may be broken", c.name, c.digest, got, c.ws.dir)
	}
	return blob, nil
}

// open opens what a blob of that encoding decompresses to.
func (ws *workspace) open(b *Blob, e encoding) (io.ReadCloser, error) {
	f, err := os.Open(b.Path)
	if err != nil || e == uncompressed {
		return f, err
	}
	z, err := newDecompressor(f, e)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &decompressed{z, f}, nil
}

// decompressed is what a file decompresses to.
type decompressed struct {
	decompressor
	file io.Closer
}

func (d *decompressed) Close() error {
	d.decompressor.Close()
	return d.file.Close()
}

// layerType returns the media type of what asLayer returns.
func (c *content) layerType() string {
	kept := c.cameCompressed() && c.aligned == nil
	switch {
	case kept && c.encoding == zstdEncoding:
		return layout.DockerLayerZstd
	case !kept && c.ws.compression == Uncompressed:
		return layout.DockerLayer
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
	for _, b := range []*Blob{c.kept, c.aligned} {
		if b != nil {
			os.Remove(b.Path)
		}
	}
}
