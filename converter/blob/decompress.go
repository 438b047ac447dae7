package blob

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// An Encoding is the way in which a file is compressed.
type Encoding int

// The encodings that layers and archives come in.
const (
	Plain Encoding = iota
	Gzipped
	Zstandard
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// MagicSize is how many bytes tell encodings apart.
const MagicSize = 4

// EncodingOf returns the encoding of what begins so.
func EncodingOf(beginning []byte) Encoding {
	switch {
	case bytes.HasPrefix(beginning, gzipMagic):
		return Gzipped
	case bytes.HasPrefix(beginning, zstdMagic):
		return Zstandard
	}
	return Plain
}

// A decompressor reads the tar in a compressed layer.
type decompressor interface {
	io.Reader
	Close()
	cuts() []int64 // once all is read: where the layer's leaves should end, nil if anywhere
}

func newDecompressor(r io.Reader, e Encoding) (decompressor, error) {
	if e == Gzipped {
		return newMemberReader(r)
	}
	z, err := NewZstdReader(r)
	return zstdReader{z}, err
}

// zstdWindow is the most memory that decompressing a layer may take, in bytes.
const zstdWindow = 128 << 20

// NewZstdReader decompresses what comes in zstd, within bounds.
func NewZstdReader(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
}

type zstdReader struct{ *zstd.Decoder }

func (zstdReader) cuts() []int64 { return nil }

// open opens what a blob of that encoding decompresses to.
func (ws *Workspace) open(b *Blob, e Encoding) (io.ReadCloser, error) {
	f, err := os.Open(b.Path)
	if err != nil || e == Plain {
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

// Decompress writes what a layer holds, if it is compressed, or else itself.
func Decompress(layer io.Reader, to io.Writer) (Encoding, error) {
	br := bufio.NewReaderSize(layer, 64<<10)
	magic, err := br.Peek(MagicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	e := EncodingOf(magic)
	if e == Plain {
		_, err := io.Copy(to, br)
		return e, err
	}
	z, err := newDecompressor(br, e)
	if err != nil {
		return e, fmt.Errorf("it does not decompress: %w", err)
	}
	defer z.Close()
	if _, err := io.Copy(to, z); err != nil {
		return e, fmt.Errorf("it does not decompress: %w", err)
	}
	return e, nil
}
