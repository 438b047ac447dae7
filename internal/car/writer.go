// Package car reads, writes and verifies CAR files: a header that names roots, and then
// blocks, each after its CID. It writes version 1, and reads the CARv1 inside a CARv2.
//
// https://ipld.io/specs/transport/car/
package car

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Encoder writes blocks as a CARv1.
// https://ipld.io/specs/transport/car/carv1/
type Encoder struct {
	w   io.Writer
	buf []byte
}

// NewEncoder writes the header, which names the given roots, if any.
func NewEncoder(w io.Writer, roots ...cid.Cid) (*Encoder, error) {
	h := header(roots)
	b := binary.AppendUvarint(nil, uint64(len(h)))
	if _, err := w.Write(append(b, h...)); err != nil {
		return nil, err
	}
	return &Encoder{w: w}, nil
}

// Put writes a block.
func (e *Encoder) Put(b unixfs.Block) error {
	if err := e.begin(b.CID, int64(len(b.Data))); err != nil {
		return err
	}
	_, err := e.w.Write(b.Data)
	return err
}

// PutFrom writes a block of size bytes, which it reads from r. If there are fewer bytes,
// the CAR is damaged, and the error is io.ErrUnexpectedEOF.
func (e *Encoder) PutFrom(c cid.Cid, size int64, r io.Reader) error {
	if err := e.begin(c, size); err != nil {
		return err
	}
	n, err := io.Copy(e.w, io.LimitReader(r, size))
	if err == nil && n < size {
		err = fmt.Errorf("block %s ends after %d bytes of %d: %w", c, n, size, io.ErrUnexpectedEOF)
	}
	return err
}

func (e *Encoder) begin(c cid.Cid, size int64) error {
	address := c.Bytes()
	e.buf = binary.AppendUvarint(e.buf[:0], uint64(len(address))+uint64(size))
	e.buf = append(e.buf, address...)
	_, err := e.w.Write(e.buf)
	return err
}

// A Writer writes blocks as a CARv1. It writes each block once.
type Writer struct {
	*Encoder
	written map[string]struct{} // multihashes
}

// NewWriter writes the header, which names the given roots. There may be none.
func NewWriter(w io.Writer, roots ...cid.Cid) (*Writer, error) {
	e, err := NewEncoder(w, roots...)
	if err != nil {
		return nil, err
	}
	return &Writer{e, map[string]struct{}{}}, nil
}

// Put writes a block unless it is written already.
func (c *Writer) Put(b unixfs.Block) error {
	key := string(b.CID.Hash())
	if _, done := c.written[key]; done {
		return nil
	}
	if err := c.Encoder.Put(b); err != nil {
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
