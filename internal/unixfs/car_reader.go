package unixfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
)

const (
	maxCARHeader = 1 << 20 // bytes, room for 20,000 roots
	maxCID       = 128     // bytes: of a section, what stands before its block
)

// A CARReader reads the blocks of a CARv1 one after another. It does not verify
// them.
// https://ipld.io/specs/transport/car/carv1/
type CARReader struct {
	Roots []cid.Cid

	r      *bufio.Reader
	offset int64 // of what r gives next
	left   int   // bytes of the block under way
}

// NewCARReader reads the header.
func NewCARReader(r io.Reader) (*CARReader, error) {
	c := &CARReader{r: bufio.NewReaderSize(r, 64<<10)}
	header, err := c.header()
	if err != nil {
		return nil, fmt.Errorf("no CAR file, or a damaged one: %w", err)
	}
	if header.Version != 1 {
		return nil, fmt.Errorf("a CAR of version %d, not 1", header.Version)
	}
	c.Roots = header.Roots
	return c, nil
}

type carHead struct {
	Version uint64
	Roots   []cid.Cid
}

// strictCBOR takes no key for another that is only like it, or for none.
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

func (c *CARReader) header() (carHead, error) {
	n, err := c.length(maxCARHeader)
	if err != nil {
		return carHead{}, unexpected(err)
	}
	data := make([]byte, n)
	if err := c.read(data); err != nil {
		return carHead{}, err
	}
	var fields struct {
		Version uint64     `cbor:"version"`
		Roots   []cbor.Tag `cbor:"roots"`
	}
	if err := strictCBOR.Unmarshal(data, &fields); err != nil {
		return carHead{}, err
	}
	head := carHead{Version: fields.Version}
	for _, tag := range fields.Roots {
		link, _ := tag.Content.([]byte)
		if tag.Number != 42 || len(link) == 0 || link[0] != 0 { // dag-cbor's CIDs
			return carHead{}, errors.New("a root is no CID")
		}
		root, err := cid.Cast(link[1:])
		if err != nil {
			return carHead{}, err
		}
		head.Roots = append(head.Roots, root)
	}
	return head, nil
}

// Next goes to the next block, skipping what was not read of the one before. It
// returns the block's CID and length, at most MaxBlock, or io.EOF at the end.
func (c *CARReader) Next() (cid.Cid, int, error) {
	skipped, err := c.r.Discard(c.left)
	c.offset += int64(skipped)
	if err != nil {
		return cid.Undef, 0, unexpected(err)
	}
	c.left = 0
	section, err := c.length(maxCID + MaxBlock)
	if err != nil {
		return cid.Undef, 0, err
	}
	start, err := c.r.Peek(min(section, maxCID))
	if err != nil {
		return cid.Undef, 0, unexpected(err)
	}
	n, address, err := cid.CidFromBytes(start)
	if err != nil {
		return cid.Undef, 0, fmt.Errorf("a block's CID at byte %d: %w", c.offset, err)
	}
	_, _ = c.r.Discard(n) // of what was peeked
	c.offset += int64(n)
	c.left = section - n
	if c.left > MaxBlock {
		return cid.Undef, 0, fmt.Errorf("block %s has %d bytes, and the most is %d", address, c.left, MaxBlock)
	}
	return address, c.left, nil
}

// Offset returns where in the CAR the block under way begins.
func (c *CARReader) Offset() int64 { return c.offset }

// Block returns the block under way. It is to be called at most once for each.
func (c *CARReader) Block() ([]byte, error) { return c.BlockIn(nil) }

// BlockIn is Block that uses the memory of buf, if that is enough.
func (c *CARReader) BlockIn(buf []byte) ([]byte, error) {
	data := slices.Grow(buf[:0], c.left)[:c.left]
	c.left = 0
	return data, c.read(data)
}

func (c *CARReader) read(data []byte) error {
	n, err := io.ReadFull(c.r, data)
	c.offset += int64(n)
	return unexpected(err)
}

// length reads a number of bytes, of which there may be limit. Its error is
// io.EOF where there is no more.
func (c *CARReader) length(limit uint64) (int, error) {
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
			return 0, fmt.Errorf("no length at byte %d", c.offset)
		}
	}
	if n > limit {
		return 0, fmt.Errorf("%d bytes announced at byte %d, and the most is %d", n, c.offset, limit)
	}
	return int(n), nil
}

// unexpected is the error for an end in the middle of something.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A CAR is a file of blocks that are read in any order. It does not verify them.
type CAR struct {
	Roots []cid.Cid

	file   io.ReaderAt
	blocks map[string]span // by carKey
}

type span struct {
	offset int64
	length int32
}

// carKey is one key for both versions of a CID.
func carKey(c cid.Cid) string { return cid.NewCidV1(c.Type(), c.Hash()).KeyString() }

// maxCARBlocks bounds the memory for an index, about 150 bytes a block.
const maxCARBlocks = 1 << 22

// OpenCAR reads through a CARv1, or the one inside a CARv2, of so many bytes and
// notes where its blocks are.
func OpenCAR(file io.ReaderAt, size int64) (*CAR, error) {
	start, size, err := carData(file, size)
	if err != nil {
		return nil, err
	}
	r, err := NewCARReader(io.NewSectionReader(file, start, size))
	if err != nil {
		return nil, err
	}
	car := &CAR{Roots: r.Roots, file: file, blocks: map[string]span{}}
	for {
		c, n, err := r.Next()
		if err == io.EOF {
			return car, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a CAR: %w", err)
		}
		if len(car.blocks) == maxCARBlocks {
			return nil, fmt.Errorf("a CAR of more than %d blocks", maxCARBlocks)
		}
		if r.Offset()+int64(n) > size {
			return nil, fmt.Errorf("reading a CAR: block %s: %w", c, io.ErrUnexpectedEOF)
		}
		key := carKey(c)
		if _, known := car.blocks[key]; !known {
			car.blocks[key] = span{start + r.Offset(), int32(n)}
		}
	}
}

// carData returns where the CARv1 is in a file.
// https://ipld.io/specs/transport/car/carv2/
func carData(file io.ReaderAt, size int64) (start, length int64, err error) {
	var head [11 + 40]byte
	n, err := file.ReadAt(head[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, fmt.Errorf("reading a CAR: %w", err)
	}
	const pragma = "\x0a\xa1gversion\x02"
	if n < len(head) || string(head[:len(pragma)]) != pragma {
		return 0, size, nil
	}
	offset := binary.LittleEndian.Uint64(head[11+16:])
	data := binary.LittleEndian.Uint64(head[11+24:])
	if offset > uint64(size) || data > uint64(size)-offset {
		return 0, 0, fmt.Errorf("reading a CAR: %w", io.ErrUnexpectedEOF)
	}
	return int64(offset), int64(data), nil
}

// Find returns where in the file a block is, and its length.
func (c *CAR) Find(address cid.Cid) (offset int64, length int, found bool) {
	at, found := c.blocks[carKey(address)]
	return at.offset, int(at.length), found
}

// Block returns the data of a block, if the CAR has it.
func (c *CAR) Block(address cid.Cid) (data []byte, found bool, err error) {
	at, found := c.blocks[carKey(address)]
	if !found {
		return nil, false, nil
	}
	data = make([]byte, at.length)
	if _, err := c.file.ReadAt(data, at.offset); err != nil {
		return nil, true, fmt.Errorf("reading block %s of a CAR: %w", address, unexpected(err))
	}
	return data, true, nil
}
