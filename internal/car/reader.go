package car

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	maxHeader = 1 << 20 // bytes, room for 20,000 roots
	maxCID    = 128     // bytes of the CID before a block
)

// A Reader reads the blocks of a CARv1 one after another. It does not verify
// them.
// https://ipld.io/specs/transport/car/carv1/
type Reader struct {
	Roots []cid.Cid

	r      *bufio.Reader
	offset int64 // of the next byte of r
	left   int   // unread bytes of the current block
}

// ErrNotCAR is the error for a file without the header of a CAR.
var ErrNotCAR = errors.New("not a CAR file, or a damaged one")

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	c := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	header, err := c.header()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCAR, err)
	}
	if header.Version != 1 {
		return nil, fmt.Errorf("a CAR of version %d, not 1", header.Version)
	}
	c.Roots = header.Roots
	return c, nil
}

type fileHeader struct {
	Version uint64
	Roots   []cid.Cid
}

// strictCBOR accepts no unknown key, and no other spelling of a key.
var strictCBOR = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return mode
}()

func (c *Reader) header() (fileHeader, error) {
	n, err := c.length(maxHeader)
	if err != nil {
		return fileHeader{}, unexpected(err)
	}
	data := make([]byte, n)
	if err := c.read(data); err != nil {
		return fileHeader{}, err
	}
	var fields struct {
		Version uint64     `cbor:"version"`
		Roots   []cbor.Tag `cbor:"roots"`
	}
	if err := strictCBOR.Unmarshal(data, &fields); err != nil {
		return fileHeader{}, err
	}
	head := fileHeader{Version: fields.Version}
	for _, tag := range fields.Roots {
		link, _ := tag.Content.([]byte)
		if tag.Number != 42 || len(link) == 0 || link[0] != 0 { // dag-cbor's CIDs
			return fileHeader{}, errors.New("a root is not a CID")
		}
		root, err := cid.Cast(link[1:])
		if err != nil {
			return fileHeader{}, err
		}
		head.Roots = append(head.Roots, root)
	}
	return head, nil
}

// Next goes to the next block, and skips the rest of the one before. It returns the
// block's CID and length, at most unixfs.MaxBlock, or io.EOF at the end.
func (c *Reader) Next() (cid.Cid, int, error) {
	skipped, err := c.r.Discard(c.left)
	c.offset += int64(skipped)
	if err != nil {
		return cid.Undef, 0, unexpected(err)
	}
	c.left = 0
	total, err := c.length(maxCID + unixfs.MaxBlock)
	if err != nil {
		return cid.Undef, 0, err
	}
	start, err := c.r.Peek(min(total, maxCID))
	if err != nil {
		return cid.Undef, 0, unexpected(err)
	}
	n, address, err := cid.CidFromBytes(start)
	if err != nil {
		return cid.Undef, 0, fmt.Errorf("a block's CID at byte %d: %w", c.offset, err)
	}
	_, _ = c.r.Discard(n) // which was peeked at
	c.offset += int64(n)
	c.left = total - n
	if c.left > unixfs.MaxBlock {
		return cid.Undef, 0, fmt.Errorf("block %s has %d bytes, and the most is %d", address, c.left, unixfs.MaxBlock)
	}
	return address, c.left, nil
}

// Offset returns the offset of the current block in the CAR.
func (c *Reader) Offset() int64 { return c.offset }

// Block returns the current block. It must be called at most once for each block.
func (c *Reader) Block() ([]byte, error) { return c.BlockIn(nil) }

// BlockIn is Block with the memory of buf, if that is large enough.
func (c *Reader) BlockIn(buf []byte) ([]byte, error) {
	data := slices.Grow(buf[:0], c.left)[:c.left]
	c.left = 0
	return data, c.read(data)
}

func (c *Reader) read(data []byte) error {
	n, err := io.ReadFull(c.r, data)
	c.offset += int64(n)
	return unexpected(err)
}

// length reads a varint that states a number of bytes, at most limit. The error at the
// end of the CAR is io.EOF.
func (c *Reader) length(limit uint64) (int, error) {
	var b [1]byte
	var n uint64
	for shift := 0; ; shift += 7 {
		if _, err := io.ReadFull(c.r, b[:]); err != nil {
			if shift > 0 {
				err = unexpected(err)
			}
			return 0, err
		}
		c.offset++
		n |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			break
		}
		if shift > 49 {
			return 0, fmt.Errorf("not a length at byte %d", c.offset)
		}
	}
	if n > limit {
		return 0, fmt.Errorf("a length of %d bytes at byte %d, and the most is %d", n, c.offset, limit)
	}
	return int(n), nil
}

// unexpected returns io.ErrUnexpectedEOF for an end within a header or block.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
