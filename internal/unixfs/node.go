package unixfs

import (
	"context"
	"errors"
	"fmt"
	"math"

	ft "github.com/ipfs/boxo/ipld/unixfs"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

const (
	maxLeaves    = 1 << 21 // of a file: half a terabyte in leaves of `ipfs add`
	maxFileDepth = 16      // nodes above a leaf
	maxFileSize  = 1 << 50 // bytes
)

// A fileNode is a node of a file. It takes less memory than the node of boxo's decoder: a
// hostile block of 2 MiB has 60,000 links.
type fileNode struct {
	links []Node
	sizes []uint64 // number of the file's bytes below each link
	data  []byte   // the bytes of the file in the node itself, in the memory of its block
	bytes int64    // of the file, in the node and below it
	size  uint64   // of all blocks, as the links state it
}

// parseInTurn is parseFile for many nodes on behalf of a request.
func parseInTurn(ctx context.Context, b Block) (fileNode, error) {
	done, err := budget.Turn(ctx, len(b.Data))
	if err != nil {
		return fileNode{}, err
	}
	defer done()
	return parseFile(b)
}

// parseFile parses a node of a file. A node that contradicts itself is an error.
func parseFile(b Block) (n fileNode, err error) {
	if b.CID.Type() != cid.DagProtobuf {
		return fileNode{}, fmt.Errorf("%s: %w", b.CID, ErrShape)
	}
	n.size = uint64(len(b.Data))
	n.links = make([]Node, 0, CountLinks(b.Data))
	message, err := eachLink(b.Data, func(l pbLink) error {
		c, err := cid.Cast(l.hash)
		n.links = append(n.links, Node{c, l.size})
		n.size += l.size
		return err
	})
	if err == nil {
		err = n.parseMessage(message)
	}
	if err != nil {
		return fileNode{}, fmt.Errorf("decoding %s: %w", b.CID, err)
	}
	return n, nil
}

var errNoFile = errors.New("not a file")

// parseMessage parses the UnixFS message of a file.
// https://specs.ipfs.tech/unixfs/#data
func (n *fileNode) parseMessage(message []byte) error {
	var typ unixfsType = -1
	var stated uint64
	n.sizes = make([]uint64, 0, len(n.links))
	err := eachField(message, func(field protowire.Number, number uint64, bytes []byte) error {
		switch {
		case field == 1:
			typ = pb.Data_DataType(number)
		case field == 2:
			n.data = bytes
		case field == 3:
			stated = number
		case field == 4 && bytes == nil:
			n.sizes = append(n.sizes, number)
		case field == 4: // packed
			for len(bytes) > 0 {
				size, length := protowire.ConsumeVarint(bytes)
				if length < 0 {
					return protowire.ParseError(length)
				}
				n.sizes, bytes = append(n.sizes, size), bytes[length:]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if typ != ft.TFile && typ != ft.TRaw {
		return errNoFile
	}
	return n.sum(stated)
}

// sum adds up the bytes of the file.
func (n *fileNode) sum(stated uint64) error {
	sum := uint64(len(n.data))
	for _, size := range n.sizes {
		if sum += size; size > maxFileSize || sum > maxFileSize {
			return errors.New("it states more bytes than a file may have")
		}
	}
	if sum != stated {
		return fmt.Errorf("it has %d bytes and states %d", sum, stated)
	}
	n.bytes = int64(sum)
	return nil
}

// FileSize returns the number of bytes of a file, given its first block.
func FileSize(b Block) (int64, error) {
	if b.CID.Type() == cid.Raw {
		return int64(len(b.Data)), nil
	}
	n, err := parseFile(b)
	return n.bytes, err
}

// Costs of reading a file, in units of one byte read. A file of tiny blocks costs far more
// than its size, and no honest tool makes one.
const (
	blockCost  = 4 << 10 // of each block, besides its bytes
	inlineCost = 64      // of each block that its CID contains

	freeCost    = 10 << 20 // allowed for any file
	maxNodeCost = 64 << 20
)

// A cost is the cost that is left for reading.
type cost int64

// contentCost returns what reading so many bytes of a file may cost: twice as much as
// these bytes, beside what is free. With leaves of 4 KiB, that is enough.
func contentCost(bytes int64) cost { return cost(freeCost + min(2*bytes, math.MaxInt64/2)) }

// nodesCost returns what reading the nodes of a file of so many bytes may cost. With
// leaves of 4 KiB and 20 links in each node, that is enough.
func nodesCost(bytes int64) cost { return cost(min(freeCost+bytes/10, maxNodeCost)) }

// leavesOf returns how many leaves a file of so many bytes may have, so that reading them
// costs no more than contentCost.
func leavesOf(bytes int64) int { return int(min(maxLeaves, (freeCost+bytes)/blockCost)) }

var errCostly = errors.New("a file with more or smaller blocks than an image may have")

// spend counts a block that was read.
func (c *cost) spend(b Block) error {
	if _, isInline := Inline(b.CID); isInline {
		*c -= inlineCost
	} else {
		*c -= blockCost
	}
	if *c -= cost(len(b.Data)); *c < 0 {
		return errCostly
	}
	return nil
}

// isLeaf reports whether a link of a file's node leads to a leaf of n bytes. A link
// states the number of bytes of all blocks below it, which shows whether there is a node
// in between. If the link states a false number, the leaf does not match.
func isLeaf(l Node, n uint64) bool {
	return n <= MaxLeaf && (l.CID.Type() == cid.Raw || l.Size == uint64(wrappedLen(int(n))))
}

// InnerNodes returns the children of a file's node that are not leaves, so that the
// caller can fetch them at the same time.
func InnerNodes(b Block) ([]cid.Cid, error) {
	if b.CID.Type() == cid.Raw {
		return nil, nil
	}
	n, err := parseFile(b)
	if err != nil {
		return nil, err
	}
	if len(n.sizes) != len(n.links) {
		return nil, fmt.Errorf("%s: %w", b.CID, ErrShape)
	}
	var inner []cid.Cid
	for i, l := range n.links {
		if !isLeaf(l, n.sizes[i]) {
			inner = append(inner, l.CID)
		}
	}
	return inner, nil
}
