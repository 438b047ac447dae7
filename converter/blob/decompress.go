package blob

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cut"
)

// An Encoding is the way in which a file is compressed.
type Encoding int

// The encodings that layers and archives come in.
const (
	Plain Encoding = iota
	Gzipped
	Zstandard
	XZ
	Bzip2
)

func (e Encoding) String() string { return [...]string{"tar", "gzip", "zstd", "xz", "bzip2"}[e] }

const (
	xzMagic    = "\xfd7zXZ\x00"
	bzip2Magic = "BZh" // and a level from 1 to 9
)

// A bzip2 file continues after its magic with the first block, or with the end if it has no
// block. A tar whose first file is called BZh1 does not.
const (
	bzip2Block = "\x31\x41\x59\x26\x53\x59"
	bzip2End   = "\x17\x72\x45\x38\x50\x90"
)

// MagicSize is the number of bytes by which encodings are told apart.
const MagicSize = len(bzip2Magic) + 1 + len(bzip2Block)

// EncodingOf returns the encoding of a file that begins so.
func EncodingOf(beginning []byte) Encoding {
	switch {
	case cut.IsGzip(beginning):
		return Gzipped
	case cut.IsZstd(beginning):
		return Zstandard
	case bytes.HasPrefix(beginning, []byte(xzMagic)):
		return XZ
	case isBzip2(beginning):
		return Bzip2
	}
	return Plain
}

func isBzip2(beginning []byte) bool {
	rest, found := bytes.CutPrefix(beginning, []byte(bzip2Magic))
	return found && len(rest) > 0 && '1' <= rest[0] && rest[0] <= '9' &&
		(bytes.HasPrefix(rest[1:], []byte(bzip2Block)) || bytes.HasPrefix(rest[1:], []byte(bzip2End)))
}

// A Decompressor reads what a compressed file holds. Read returns an error of
// ErrTrailing where the compressed data has ended, and something else follows.
type Decompressor interface {
	io.Reader
	Close()
	cuts() []int64 // after the end: offsets at which leaves should end; nil for any
}

// ErrTrailing says that other bytes follow after the end of the compressed data.
var ErrTrailing = cut.ErrTrailing

// NewDecompressor returns a reader of what r holds, in any encoding but Plain. It
// takes at most maxWindow bytes of memory for what came before, and some for itself.
func NewDecompressor(r io.Reader, e Encoding) (Decompressor, error) {
	switch e {
	case Gzipped:
		z, err := cut.NewGzipReader(r)
		return members{z}, err
	case Zstandard:
		z, err := NewZstdReader(r)
		if err != nil {
			return nil, err
		}
		return &streams{Reader: z, close: z.Close, explain: explainZstd}, nil
	case XZ:
		z, err := xz.NewReader(r, maxWindow)
		if err != nil {
			return nil, explainXZ(err, false)
		}
		return &streams{Reader: z, explain: explainXZ}, nil
	case Bzip2:
		return &streams{Reader: bzip2.NewReader(r), explain: explainBzip2}, nil
	}
	return nil, fmt.Errorf("a %s is not compressed", e)
}

// members reads the members of gzip.
type members struct{ *cut.GzipReader }

// Close implements Decompressor.
func (members) Close() {}

func (m members) cuts() []int64 { return m.Ends() }

// maxWindow is how far back compressed data may refer, in bytes: as far as
// `zstd --long=28` and `xz -9` do.
const maxWindow = 1 << 28

// NewZstdReader decompresses zstd with at most maxWindow bytes of memory for what came
// before.
func NewZstdReader(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
}

// streams reads one compressed stream after another.
type streams struct {
	io.Reader
	close   func()                            // or nil
	explain func(err error, begun bool) error // says what an error means once there was some output
	begun   bool
}

func (s *streams) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.begun = s.begun || n > 0
	if err != nil && err != io.EOF {
		err = s.explain(err, s.begun)
	}
	return n, err
}

func (s *streams) Close() {
	if s.close != nil {
		s.close()
	}
}

func (*streams) cuts() []int64 { return nil }

// ErrWindow says that compressed data refers further back than we remember.
var ErrWindow = fmt.Errorf("its window is larger than %d MiB", maxWindow>>20)

func explainZstd(err error, begun bool) error {
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("zstd: %w", ErrWindow)
	case errors.Is(err, zstd.ErrMagicMismatch) && begun:
		return fmt.Errorf("zstd: %w", ErrTrailing)
	}
	return err
}

func explainXZ(err error, begun bool) error {
	switch {
	case errors.Is(err, xz.ErrMemlimit):
		return fmt.Errorf("xz: %w", ErrWindow)
	case errors.Is(err, xz.ErrFormat) && begun:
		return fmt.Errorf("xz: %w", ErrTrailing)
	case errors.Is(err, xz.ErrBuf):
		return fmt.Errorf("xz: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// errBzip2Trailing is the standard library's error for what is no further stream.
const errBzip2Trailing = bzip2.StructuralError("bad magic value in continuation file")

func explainBzip2(err error, _ bool) error {
	if err == errBzip2Trailing {
		return fmt.Errorf("bzip2: %w", ErrTrailing)
	}
	return err
}

// open opens the uncompressed bytes of a blob.
func (ws *Workspace) open(b *Blob, e Encoding) (io.ReadCloser, error) {
	f, err := os.Open(b.Path)
	if err != nil || e == Plain {
		return f, err
	}
	z, err := NewDecompressor(f, e)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &decompressed{z, f}, nil
}

// decompressed reads the uncompressed bytes of a file.
type decompressed struct {
	Decompressor
	file io.Closer
}

func (d *decompressed) Close() error {
	d.Decompressor.Close()
	return d.file.Close()
}

// Decompress writes the uncompressed bytes of a layer, which may be plain, to w.
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
	z, err := NewDecompressor(br, e)
	if err != nil {
		return e, fmt.Errorf("it does not decompress: %w", err)
	}
	defer z.Close()
	if _, err := io.Copy(to, z); err != nil {
		return e, fmt.Errorf("it does not decompress: %w", err)
	}
	return e, nil
}
