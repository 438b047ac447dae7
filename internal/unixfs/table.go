package unixfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

// A Leaf is one run of a file's bytes and the sha2-256 digest of its block.
type Leaf struct {
	Digest [sha256.Size]byte
	End    int64 // offset in the file of the first byte after the leaf
}

// A Table lists the leaves of one file in the order of its bytes.
type Table struct {
	// Wrapped says that the leaves are dag-pb nodes, as `ipfs add` makes by
	// default: their blocks have a few bytes before and after the file's own.
	// A leaf's digest shows which of two UnixFS types it has.
	Wrapped bool
	Leaves  []Leaf
}

// Size returns the number of bytes of the file.
func (t *Table) Size() int64 {
	if len(t.Leaves) == 0 {
		return 0
	}
	return t.Leaves[len(t.Leaves)-1].End
}

// Start returns the offset in the file of leaf i's first byte.
func (t *Table) Start(i int) int64 {
	if i == 0 {
		return 0
	}
	return t.Leaves[i-1].End
}

// Len returns the number of the file's bytes that leaf i holds.
func (t *Table) Len(i int) int { return int(t.Leaves[i].End - t.Start(i)) }

// CID returns the address of leaf i's block.
func (t *Table) CID(i int) cid.Cid {
	hash, err := mh.Encode(t.Leaves[i].Digest[:], mh.SHA2_256)
	if err != nil {
		panic(err) // sha2-256 always has 32 bytes
	}
	if t.Wrapped {
		return cid.NewCidV0(hash)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// Block returns leaf i's block, given the leaf's bytes of the file. An unwrapped block is
// data itself.
func (t *Table) Block(i int, data []byte) Block {
	if !t.Wrapped {
		return Block{t.CID(i), data}
	}
	typ := ft.TFile
	if wrappedDigest(ft.TRaw, data) == t.Leaves[i].Digest {
		typ = ft.TRaw
	}
	before, after := wrapping(typ, len(data))
	return Block{t.CID(i), slices.Concat(before, data, after)}
}

// Verify reports whether data is leaf i's bytes of the file.
func (t *Table) Verify(i int, data []byte) bool {
	digest := t.Leaves[i].Digest
	return LeafDigest(data, t.Wrapped) == digest || t.Wrapped && wrappedDigest(ft.TRaw, data) == digest
}

// Unwrap returns leaf i's bytes of the file, given its block, which must have been
// verified.
func (t *Table) Unwrap(i int, block []byte) ([]byte, error) {
	n := t.Len(i)
	if !t.Wrapped && len(block) == n {
		return block, nil
	}
	if data, ok := unwrap(block, n); ok && t.Wrapped {
		return data, nil
	}
	return nil, fmt.Errorf("leaf %s: %w", t.CID(i), ErrShape)
}

// Add appends a leaf with data, of at most MaxLeaf bytes.
func (t *Table) Add(data []byte) {
	t.append(LeafDigest(data, t.Wrapped), len(data))
}

func (t *Table) append(digest [sha256.Size]byte, n int) {
	t.Leaves = append(t.Leaves, Leaf{digest, t.Size() + int64(n)})
}

// Span returns the leaves [i, j) that hold the file's bytes [from, to).
func (t *Table) Span(from, to int64) (i, j int) {
	after := func(offset int64) func(int) bool {
		return func(k int) bool { return t.Leaves[k].End > offset }
	}
	if from >= to {
		return 0, 0
	}
	i = sort.Search(len(t.Leaves), after(from))
	j = sort.Search(len(t.Leaves), after(to-1))
	return i, min(j+1, len(t.Leaves))
}

// LeafDigest returns the sha2-256 digest of the block of a leaf with data.
func LeafDigest(data []byte, wrapped bool) [sha256.Size]byte {
	if !wrapped {
		return sha256.Sum256(data)
	}
	return wrappedDigest(ft.TFile, data)
}

func wrappedDigest(typ unixfsType, data []byte) [sha256.Size]byte {
	h := sha256.New()
	before, after := wrapping(typ, len(data))
	h.Write(before)
	h.Write(data)
	h.Write(after)
	return [sha256.Size]byte(h.Sum(nil))
}

// blockLen returns the length of the block around n bytes of a file.
func (t *Table) blockLen(n int) int {
	if !t.Wrapped {
		return n
	}
	return wrappedLen(n)
}

func wrappedLen(n int) int {
	before, after := wrapping(ft.TFile, n)
	return len(before) + n + len(after)
}

// A unixfsType is the type of a UnixFS message. Leaves have the type File, or Raw if old
// software or `ipfs add --trickle` made them; nothing else about them differs.
type unixfsType = pb.Data_DataType

// wrapping returns the bytes before and after n bytes of a file in a dag-pb leaf: a
// PBNode without links whose data is a UnixFS message.
// https://specs.ipfs.tech/unixfs/
func wrapping(typ unixfsType, n int) (before, after []byte) {
	message := []byte{0x08, byte(typ)} // Type
	if n > 0 {
		message = binary.AppendUvarint(append(message, 0x12), uint64(n)) // Data
	}
	after = binary.AppendUvarint([]byte{0x18}, uint64(n)) // filesize
	before = binary.AppendUvarint([]byte{0x0a}, uint64(len(message)+n+len(after)))
	return append(before, message...), after
}

// unwrap returns the n bytes of a file in a dag-pb leaf. It returns false for a block
// with anything else in it.
func unwrap(block []byte, n int) (content []byte, ok bool) {
	if n < 0 || n > len(block) {
		return nil, false
	}
	for _, typ := range []unixfsType{ft.TFile, ft.TRaw} {
		before, after := wrapping(typ, n)
		if len(block) == len(before)+n+len(after) && bytes.HasPrefix(block, before) && bytes.HasSuffix(block, after) {
			return block[len(before):][:n], true
		}
	}
	return nil, false
}

// leafRecord is a leaf on disk: its digest and its length.
const leafRecord = sha256.Size + 4

// AppendBinary appends the table in the store's format: a byte that is 1 if the leaves
// are wrapped and 0 if not, and then 36 bytes for each leaf, its digest and its length,
// big-endian.
func (t *Table) AppendBinary(b []byte) ([]byte, error) {
	wrapped := byte(0)
	if t.Wrapped {
		wrapped = 1
	}
	b = append(b, wrapped)
	for i := range t.Leaves {
		b = append(b, t.Leaves[i].Digest[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(t.Len(i)))
	}
	return b, nil
}

// ReadTableSize returns the number of bytes of the file whose table r has, in the format
// of AppendBinary. It takes no memory for the table.
func ReadTableSize(r io.Reader) (size int64, err error) {
	var record [leafRecord]byte
	if _, err := io.ReadFull(r, record[:1]); err != nil || record[0] > 1 {
		return 0, errMalformed
	}
	for {
		switch _, err := io.ReadFull(r, record[:]); err {
		case nil:
		case io.EOF:
			return size, nil
		case io.ErrUnexpectedEOF:
			return 0, errMalformed
		default:
			return 0, err
		}
		n := binary.BigEndian.Uint32(record[sha256.Size:])
		if n > MaxLeaf {
			return 0, fmt.Errorf("%w: a leaf of %d bytes", errMalformed, n)
		}
		size += int64(n)
	}
}

var errMalformed = errors.New("malformed leaf table")

// UnmarshalBinary parses the format of AppendBinary.
func (t *Table) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] > 1 || (len(b)-1)%leafRecord != 0 {
		return errMalformed
	}
	wrapped, b := b[0] == 1, b[1:]
	leaves := make([]Leaf, len(b)/leafRecord)
	end := int64(0)
	for i := range leaves {
		record := b[i*leafRecord:][:leafRecord]
		n := binary.BigEndian.Uint32(record[sha256.Size:])
		if n > MaxLeaf {
			return fmt.Errorf("%w: a leaf of %d bytes", errMalformed, n)
		}
		end += int64(n)
		leaves[i] = Leaf{[sha256.Size]byte(record), end}
	}
	*t = Table{wrapped, leaves}
	return nil
}
