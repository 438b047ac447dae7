package car

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// A File is a CAR whose blocks are read in any order. It does not verify them.
type File struct {
	Roots []cid.Cid

	file   io.ReaderAt
	blocks map[string]span // by blockKey
}

type span struct {
	offset int64
	length int32
}

// blockKey returns a key that both versions of a CID share.
func blockKey(c cid.Cid) string { return cid.NewCidV1(c.Type(), c.Hash()).KeyString() }

// maxBlocks bounds the memory of an index, which takes about 150 bytes a block.
const maxBlocks = 1 << 22

// Open indexes a CARv1, or the one inside a CARv2, of size bytes.
func Open(file io.ReaderAt, size int64) (*File, error) {
	start, size, err := section(file, size)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(io.NewSectionReader(file, start, size))
	if err != nil {
		return nil, err
	}
	car := &File{Roots: r.Roots, file: file, blocks: map[string]span{}}
	for {
		c, n, err := r.Next()
		if err == io.EOF {
			return car, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading a CAR: %w", err)
		}
		if len(car.blocks) == maxBlocks {
			return nil, fmt.Errorf("a CAR of more than %d blocks", maxBlocks)
		}
		if r.Offset()+int64(n) > size {
			return nil, fmt.Errorf("reading a CAR: block %s: %w", c, io.ErrUnexpectedEOF)
		}
		key := blockKey(c)
		if _, known := car.blocks[key]; !known {
			car.blocks[key] = span{start + r.Offset(), int32(n)}
		}
	}
}

// section returns the offset and length of the CARv1 in a file.
// https://ipld.io/specs/transport/car/carv2/
func section(file io.ReaderAt, size int64) (start, length int64, err error) {
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

// Find returns the offset of a block in the file, and its length.
func (c *File) Find(address cid.Cid) (offset int64, length int, found bool) {
	at, found := c.blocks[blockKey(address)]
	return at.offset, int(at.length), found
}

// Block returns the data of a block, if the CAR has it.
func (c *File) Block(address cid.Cid) (data []byte, found bool, err error) {
	at, found := c.blocks[blockKey(address)]
	if !found {
		return nil, false, nil
	}
	data = make([]byte, at.length)
	if _, err := c.file.ReadAt(data, at.offset); err != nil {
		return nil, true, fmt.Errorf("reading block %s of a CAR: %w", address, unexpected(err))
	}
	return data, true, nil
}
