// Package car reads, writes and verifies CAR files: a header that names roots, and then
// blocks, each after its CID. It writes version 1, and reads the CARv1 inside a CARv2.
//
// https://ipld.io/specs/transport/car/
package car

import (
	"encoding/binary"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Writer writes blocks as a CARv1. It writes each block once.
// https://ipld.io/specs/transport/car/carv1/
type Writer struct {
	w       io.Writer
	written map[string]struct{} // multihashes
	buf     []byte
}

// NewWriter writes the header, which names the given roots. There may be none.
func NewWriter(w io.Writer, roots ...cid.Cid) (*Writer, error) {
	h := header(roots)
	b := binary.AppendUvarint(nil, uint64(len(h)))
	if _, err := w.Write(append(b, h...)); err != nil {
		return nil, err
	}
	return &Writer{w: w, written: map[string]struct{}{}}, nil
}

// Put writes a block unless it is written already.
func (c *Writer) Put(b unixfs.Block) error {
	key := string(b.CID.Hash())
	if _, done := c.written[key]; done {
		return nil
	}
	address := b.CID.Bytes()
	c.buf = binary.AppendUvarint(c.buf[:0], uint64(len(address)+len(b.Data)))
	c.buf = append(c.buf, address...)
	if _, err := c.w.Write(c.buf); err != nil {
		return err
	}
	if _, err := c.w.Write(b.Data); err != nil {
		return err
	}
	c.written[key] = struct{}{}
	return nil
}

// header is the dag-cbor of {"roots": roots, "version": 1}.
func header(roots []cid.Cid) []byte {
	b := append([]byte{0xa2, 0x65}, "roots"...)
	b = append(b, 0x80|byte(len(roots)))
	for _, r := range roots {
		link := append([]byte{0x00}, r.Bytes()...) // identity multibase
		b = append(b, 0xd8, 0x2a, 0x58, byte(len(link)))
		b = append(b, link...)
	}
	b = append(append(b, 0x67), "version"...)
	return append(b, 0x01)
}
