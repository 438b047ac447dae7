package unixfs

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Nodes are encoded by hand, since boxo takes ten times the memory: a layer may have very
// many leaves, and a directory many entries. All numbers of fields are below 16, so a tag
// is one byte.
// https://ipld.io/specs/codecs/dag-pb/spec/

// linkLen returns the length of a link without the tag and length before it.
func linkLen(name string, to Node) int {
	return 1 + protowire.SizeBytes(to.CID.ByteLen()) + 1 + protowire.SizeBytes(len(name)) + 1 + protowire.SizeVarint(to.Size)
}

// encodedLink returns how many bytes appendLink appends.
func encodedLink(name string, to Node) int { return 1 + protowire.SizeBytes(linkLen(name, to)) }

// appendLink appends a link to the links of a node.
func appendLink(node []byte, name string, to Node) []byte {
	node = protowire.AppendTag(node, 2, protowire.BytesType) // Links
	node = protowire.AppendVarint(node, uint64(linkLen(name, to)))
	node = protowire.AppendTag(node, 1, protowire.BytesType) // Hash
	node = protowire.AppendString(node, to.CID.KeyString())
	node = protowire.AppendTag(node, 2, protowire.BytesType) // Name
	node = protowire.AppendString(node, name)
	node = protowire.AppendTag(node, 3, protowire.VarintType) // Tsize
	return protowire.AppendVarint(node, to.Size)
}

// seal ends a node that has all its links with a UnixFS message. below is the size of all
// blocks below the node.
func (p Profile) seal(node, message []byte, below uint64) (Block, Node, error) {
	node = protowire.AppendTag(node, 1, protowire.BytesType) // Data
	node = protowire.AppendBytes(node, message)
	c, err := p.builder().Sum(node)
	if err != nil {
		return Block{}, Node{}, fmt.Errorf("building a node: %w", err)
	}
	return Block{c, node}, Node{c, below + uint64(len(node))}, nil
}
