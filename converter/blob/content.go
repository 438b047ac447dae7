package blob

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/align"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cut"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Content is one file of a source. It waits in the workspace in the form that its
// image will most likely need, and is turned into the other form on demand.
type Content struct {
	ws     *Workspace
	Name   string        // in the source
	Digest digest.Digest // of its bytes in the source
	Size   int64         // of its bytes in the source

	// DiffID is the digest of its bytes uncompressed. It is empty where the content
	// does not decompress.
	DiffID   digest.Digest
	Broken   error    // why it does not decompress, or nil
	encoding Encoding // in the source

	large   bool  // a tar, or too large to be kept as it is
	kept    *Blob // the bytes of the source, or nil
	aligned *Blob // the uncompressed bytes in the form of a layer of format 1, or nil

	// Digests in other algorithms than sha256, computed on demand.
	others, otherDiffIDs map[digest.Algorithm]digest.Digest
}

// Read reads one file of a source. A tar is taken for a layer, and any other file is kept
// as it is. The bytes alone decide, so a file has the same leaves whatever source it
// comes from.
func (ws *Workspace) Read(name string, size int64, r io.Reader) (*Content, error) {
	c := &Content{ws: ws, Name: name, Size: size}
	r, end := Watch(ws.Progress, name, size, r)
	defer end()
	br := bufio.NewReader(r) // small, so that long reads go around it
	beginning, err := br.Peek(align.BlockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	c.encoding = EncodingOf(beginning)
	c.large = align.IsTar(beginning) || size > maxPlain
	switch {
	case c.CameCompressed():
		err = c.keepCompressed(br, ws.keeper(beginning, size))
	case !align.IsTar(beginning) && (ws.keepsPlain(size) || ws.Compression == Uncompressed):
		c.kept, err = ws.Keep(br)
	case ws.Compression == Uncompressed:
		c.kept, err = ws.align(br, Uncompressed)
		c.aligned = c.kept
	default:
		sum := digest.SHA256.Digester()
		c.aligned, err = ws.align(io.TeeReader(br, sum.Hash()), Gzip)
		c.Digest = sum.Digest()
	}
	if err != nil {
		return nil, err
	}
	if c.kept != nil {
		c.Digest = c.kept.Digest
	}
	if !c.CameCompressed() {
		c.DiffID = c.Digest
	}
	return c, nil
}

// keeper returns how a compressed file is cut into leaves. In format 1 a file is
// known to be compressed by the first bytes of gzip and zstd alone, and any other
// large file is cut as a layer is, unless layers stay uncompressed.
func (ws *Workspace) keeper(beginning []byte, size int64) func(io.Reader) (*Blob, error) {
	switch {
	case cut.IsZstd(beginning):
		return func(r io.Reader) (*Blob, error) { return ws.keep(r, cut.NewZstd(ws.Profile)) }
	case cut.IsGzip(beginning), size <= maxPlain, ws.Compression == Uncompressed:
		return ws.Keep // gzip is cut again when its members are known
	}
	return func(r io.Reader) (*Blob, error) { return ws.align(r, Uncompressed) }
}

// Files that are not tars wait as they are, up to a size for each of them and for all
// together. Beyond it they wait compressed: a few bytes of a compressed archive may
// stand for any number of files that no image names.
const (
	maxPlain    = cut.MaxFixed
	maxAllPlain = 256 << 20
)

// keepsPlain reports whether a file that is not a tar may wait as it is.
func (ws *Workspace) keepsPlain(size int64) bool {
	return size <= maxPlain && ws.plain.Add(size) <= maxAllPlain
}

// CameCompressed reports whether the content was compressed when it came.
func (c *Content) CameCompressed() bool { return c.encoding != Plain }

// Unpackable reports whether every client unpacks a layer of this encoding. Docker and
// containerd unpack neither xz nor bzip2.
func (c *Content) Unpackable() bool { return c.encoding != XZ && c.encoding != Bzip2 }

// Encoding returns how the content was compressed when it came.
func (c *Content) Encoding() Encoding { return c.encoding }

// keepCompressed keeps a compressed layer, and decompresses it at the same time.
func (c *Content) keepCompressed(r io.Reader, keep func(io.Reader) (*Blob, error)) error {
	pr, pw := io.Pipe()
	var inside inside
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		var err error
		if inside, err = c.look(pr); err != nil {
			pr.CloseWithError(err) // keep fails with it
		}
		// A layer that does not decompress is read to its end all the same.
		io.Copy(io.Discard, pr)
	}()
	blob, err := keep(io.TeeReader(r, pw))
	pw.CloseWithError(err)
	<-looked
	if err != nil {
		return err
	}
	c.kept, c.aligned, c.DiffID, c.Broken = blob, inside.aligned, inside.diffID, inside.broken
	if inside.cuts == nil {
		return nil
	}
	return blob.recut(c.ws.Context, c.ws.Profile, inside.cuts)
}

// inside is what decompressing a layer shows. A broken layer is an error only if a
// manifest names it.
type inside struct {
	diffID  digest.Digest
	cuts    []int64 // offsets at which leaves should end; nil for any
	aligned *Blob   // where the layer is to be recompressed
	broken  error   // why it does not decompress, or nil
}

// look decompresses a layer. It returns an error only if the layer is not to blame.
func (c *Content) look(compressed io.Reader) (inside, error) {
	z, err := NewDecompressor(compressed, c.encoding)
	if err != nil {
		return inside{broken: err}, nil
	}
	defer z.Close()
	sum := digest.SHA256.Digester()
	tar := &source{r: io.TeeReader(z, sum.Hash())}
	var aligned *Blob
	if c.ws.Recompress {
		aligned, err = c.ws.alignInside(tar)
	} else {
		_, err = io.Copy(io.Discard, tar)
	}
	switch {
	case tar.broken != nil:
		return inside{broken: tar.broken}, nil
	case err != nil:
		return inside{}, err
	}
	return inside{diffID: sum.Digest(), cuts: z.cuts(), aligned: aligned}, nil
}

// alignInside aligns the content of a compressed layer. Content that is not a tar and
// stays uncompressed is cut as if it had come uncompressed.
func (ws *Workspace) alignInside(r io.Reader) (*Blob, error) {
	br := bufio.NewReader(r)
	beginning, err := br.Peek(align.BlockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if ws.Compression == Uncompressed && !align.IsTar(beginning) {
		return ws.Keep(br)
	}
	return ws.align(br, ws.Compression)
}

// A source remembers the error of reading, if reading failed.
type source struct {
	r      io.Reader
	broken error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.broken = err
	}
	return n, err
}

// AsIs returns a blob of the bytes as they came.
func (c *Content) AsIs() (*Blob, error) {
	if c.kept != nil {
		return c.kept, nil
	}
	var err error
	c.kept, err = c.rewrite(c.aligned, Gzipped, Uncompressed)
	return c.kept, err
}

// AsLayer returns the blob of a layer for a manifest that this program writes. The layer
// is aligned, unless it came compressed and is kept.
func (c *Content) AsLayer() (*Blob, error) {
	var err error
	switch {
	case c.aligned != nil:
	case !c.Unpackable():
		c.aligned, err = c.recompress()
	case c.CameCompressed() || c.ws.Compression == Uncompressed:
		return c.kept, nil
	default:
		c.aligned, err = c.rewrite(c.kept, Plain, Gzip)
	}
	return c.aligned, err
}

// recompress makes the aligned blob of a layer that came compressed.
func (c *Content) recompress() (*Blob, error) {
	tar, err := c.ws.open(c.kept, c.encoding)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	defer tar.Close()
	sum := digest.SHA256.Digester()
	blob, err := c.ws.alignInside(io.TeeReader(tar, sum.Hash()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if got := sum.Digest(); got != c.DiffID {
		os.Remove(blob.Path)
		return nil, c.readAgainError(c.DiffID, got)
	}
	return blob, nil
}

// readAgainError is the error for bytes that differ when they are read again.
func (c *Content) readAgainError(before, now digest.Digest) error {
	return fmt.Errorf("%s was %s, and is %s when read again from %s: the disk or the memory may be broken", c.Name, before, now, c.ws.Dir)
}

// rewrite makes one form of the content out of the other, and checks that the bytes read
// again are those that came.
func (c *Content) rewrite(from *Blob, e Encoding, as Compression) (*Blob, error) {
	tar, err := c.ws.open(from, e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	defer tar.Close()
	sum := digest.SHA256.Digester()
	var blob *Blob
	if as == Uncompressed && !c.large {
		blob, err = c.ws.Keep(io.TeeReader(tar, sum.Hash())) // cut as if it had not waited compressed
	} else {
		blob, err = c.ws.align(io.TeeReader(tar, sum.Hash()), as)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if got := sum.Digest(); got != c.Digest {
		os.Remove(blob.Path)
		return nil, c.readAgainError(c.Digest, got)
	}
	return blob, nil
}

// LayerType returns the media type of what AsLayer returns.
func (c *Content) LayerType() string {
	switch {
	case c.IsKept() && c.encoding == Zstandard:
		return layout.DockerLayerZstd
	case !c.IsKept() && c.ws.Compression == Uncompressed:
		return layout.DockerLayer
	}
	return layout.DockerLayerGzip
}

// IsKept reports whether AsLayer returns a compressed layer as it came.
func (c *Content) IsKept() bool { return c.CameCompressed() && c.aligned == nil }

// Document returns the bytes of a manifest, or of another document of that size.
func (c *Content) Document() ([]byte, error) { return c.read(layout.MaxManifest) }

// MaxConfig is the most bytes of a config. Clients read larger ones than manifests.
const MaxConfig = 16 << 20

// Config returns the bytes of a config.
func (c *Content) Config() ([]byte, error) { return c.read(MaxConfig) }

func (c *Content) read(most int64) ([]byte, error) {
	if c.Size > most {
		return nil, fmt.Errorf("%s has %d bytes, and the most is %d", c.Name, c.Size, most)
	}
	blob, err := c.AsIs()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(blob.Path)
}

// Remove removes the files of the content.
func (c *Content) Remove() {
	for _, b := range []*Blob{c.kept, c.aligned} {
		if b != nil {
			os.Remove(b.Path)
		}
	}
}

// ContentOf returns a content of a blob that exists already.
func (ws *Workspace) ContentOf(name string, b *Blob, diffID digest.Digest, e Encoding) *Content {
	return &Content{ws: ws, Name: name, Digest: b.Digest, Size: b.Size(), DiffID: diffID, encoding: e, kept: b}
}

// Aligned returns the content of a blob that AsLayer has returned, as if it had come
// in that form.
func (c *Content) Aligned(name string, layer *Blob) *Content {
	e := Gzipped
	if c.ws.Compression == Uncompressed {
		e = Plain
	}
	alone := c.ws.ContentOf(name, layer, c.DiffID, e)
	alone.aligned = layer
	return alone
}
