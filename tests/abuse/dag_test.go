package abuse

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"
)

// A dag has the blocks of a publisher, who encodes them by hand: what no tool would
// write as well.
type dag map[string]block // by multihash

// A block is one block and the blocks below it.
type block struct {
	data  []byte
	kind  kind
	links []link
}

// A kind is what a block is a part of.
type kind uint64

// The numbers are those of UnixFS. https://specs.ipfs.tech/unixfs/
const (
	leaf      kind = 0
	directory kind = 1
	file      kind = 2
	shard     kind = 5
)

// A link leads to a block.
type link struct {
	name  string
	cid   cid.Cid
	bytes uint64 // of the file below
}

func (l link) named(name string) link {
	l.name = name
	return l
}

// raw adds a raw leaf.
func (d dag) raw(data []byte) link {
	l := link{cid: sum(cid.Raw, mh.SHA2_256, data), bytes: uint64(len(data))}
	d[string(l.cid.Hash())] = block{data: data}
	return l
}

// identity is a leaf that is inside its CID.
func identity(data string) link {
	return link{cid: sum(cid.Raw, mh.IDENTITY, []byte(data)), bytes: uint64(len(data))}
}

// file adds the node of a file above its parts.
func (d dag) file(parts ...link) link {
	total := uint64(0)
	for _, p := range parts {
		total += p.bytes
	}
	message := number(number(nil, 1, uint64(file)), 3, total)
	for _, p := range parts {
		message = number(message, 4, p.bytes)
	}
	return d.node(file, message, parts, total)
}

// tall adds a file of fanout^height leaves, which are all the same.
func (d dag) tall(l link, fanout, height int) link {
	for range height {
		l = d.file(slices.Repeat([]link{l}, fanout)...)
	}
	return l
}

// directory adds a directory with these entries.
func (d dag) directory(entries ...link) link {
	slices.SortFunc(entries, func(a, b link) int { return strings.Compare(a.name, b.name) })
	return d.node(directory, number(nil, 1, uint64(directory)), entries, 0)
}

// shard adds a node of a sharded directory. The names of links begin with their slot.
func (d dag) shard(fanout int, links ...link) link {
	bitfield := make([]byte, fanout/8)
	for i := range links {
		bitfield[i/8%len(bitfield)] |= 1 << (i % 8)
	}
	message := protowire.AppendBytes(protowire.AppendTag(number(nil, 1, uint64(shard)), 2, protowire.BytesType), bitfield)
	return d.node(shard, number(number(message, 5, mh.MURMUR3X64_64), 6, uint64(fanout)), links, 0)
}

// node adds a dag-pb node. https://ipld.io/specs/codecs/dag-pb/spec/
func (d dag) node(k kind, message []byte, links []link, size uint64) link {
	var node []byte
	for _, l := range links {
		field := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), l.cid.Bytes())
		field = protowire.AppendString(protowire.AppendTag(field, 2, protowire.BytesType), l.name)
		field = number(field, 3, max(l.bytes, 1)+l.overhead())
		node = protowire.AppendBytes(protowire.AppendTag(node, 2, protowire.BytesType), field)
	}
	node = protowire.AppendBytes(protowire.AppendTag(node, 1, protowire.BytesType), message)
	l := link{cid: sum(cid.DagProtobuf, mh.SHA2_256, node), bytes: size}
	d[string(l.cid.Hash())] = block{data: node, kind: k, links: links}
	return l
}

// overhead is what a link says beside the bytes of the file: of a node, more than one
// leaf could have.
func (l link) overhead() uint64 {
	if l.cid.Type() == cid.Raw {
		return 0
	}
	return 1 << 10
}

func number(message []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(message, field, protowire.VarintType), n)
}

func sum(codec uint64, hash uint64, data []byte) cid.Cid {
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: hash, MhLength: -1}.Sum(data)
	if err != nil {
		panic(err) // both hashes are known
	}
	return c
}

// get returns a block. It has those that are inside their CIDs as well.
func (d dag) get(c cid.Cid) (block, error) {
	if c.Prefix().MhType == mh.IDENTITY {
		decoded, err := mh.Decode(c.Hash())
		return block{data: decoded.Digest}, err
	}
	b, ok := d[string(c.Hash())]
	if !ok {
		return block{}, fmt.Errorf("block %s: %w", c, fs.ErrNotExist)
	}
	return b, nil
}

// image adds a directory with one image without a name.
func (d dag) image(manifests, blobs []link) link {
	return d.directory(d.directory(manifests...).named("manifests"), d.directory(blobs...).named("blobs"))
}

// small adds a file of one leaf.
func (d dag) small(content string) link { return d.raw([]byte(content)) }

// digest is the digest of bytes.
func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// anyDigest is a digest that nothing has.
func anyDigest(i int) string { return digest(fmt.Appendf(nil, "nothing %d", i)) }

// noise returns bytes that depend on a seed.
func noise(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1}).Read(b)
	return b
}

// manifestOf is the manifest of an image with these layers.
func manifestOf(layers ...string) string {
	var list bytes.Buffer
	for i, d := range layers {
		if i > 0 {
			list.WriteByte(',')
		}
		fmt.Fprintf(&list, `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":1,"digest":%q}`, d)
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":1,"digest":%q},"layers":[%s]}`, anyDigest(0), list.String())
}
