package unixfs

import (
	"errors"
	"fmt"

	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"google.golang.org/protobuf/encoding/protowire"
)

// A pbLink is a link of a dag-pb node. It shares the memory of the node's block.
type pbLink struct {
	hash []byte // a CID
	name []byte
	size uint64
}

var errDagPB = errors.New("not a dag-pb node")

// eachField calls use for each field of a protobuf message, with a number for a varint
// and with bytes otherwise.
func eachField(message []byte, use func(field protowire.Number, number uint64, bytes []byte) error) error {
	for len(message) > 0 {
		field, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var number uint64
		var bytes []byte
		switch typ {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(field, typ, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := use(field, number, bytes); err != nil {
			return err
		}
	}
	return nil
}

// eachLink calls use for each link of a node in order, and returns the node's data. It
// allocates no memory for links, unlike boxo's decoder: a hostile block of 2 MiB has
// 150,000 of them.
// https://ipld.io/specs/codecs/dag-pb/spec/
func eachLink(block []byte, use func(pbLink) error) (data []byte, err error) {
	err = eachField(block, func(field protowire.Number, _ uint64, bytes []byte) error {
		switch field {
		case 1:
			data = bytes
			return nil
		case 2:
			l, err := parseLink(bytes)
			if err != nil {
				return err
			}
			return use(l)
		}
		return fmt.Errorf("%w: field %d", errDagPB, field)
	})
	return data, err
}

func parseLink(message []byte) (l pbLink, err error) {
	err = eachField(message, func(field protowire.Number, number uint64, bytes []byte) error {
		switch field {
		case 1:
			l.hash = bytes
		case 2:
			l.name = bytes
		case 3:
			l.size = number
		default:
			return fmt.Errorf("%w: field %d of a link", errDagPB, field)
		}
		return nil
	})
	return l, err
}

// A directoryNode is the UnixFS message of a node of a directory.
// https://specs.ipfs.tech/unixfs/
type directoryNode struct {
	typ      unixfsType
	bitfield []byte // of a shard: the slots that have a link
	hashType uint64
	fanout   uint64
}

func parseDirectoryNode(message []byte) (d directoryNode, err error) {
	known := false
	err = eachField(message, func(field protowire.Number, number uint64, bytes []byte) error {
		switch field {
		case 1:
			d.typ, known = pb.Data_DataType(number), true
		case 2:
			d.bitfield = bytes
		case 5:
			d.hashType = number
		case 6:
			d.fanout = number
		}
		return nil
	})
	if err == nil && !known {
		err = errors.New("no UnixFS message")
	}
	return d, err
}

// CountLinks returns the number of links of a dag-pb block, or 0 for other bytes.
func CountLinks(block []byte) (n int) {
	err := eachField(block, func(field protowire.Number, _ uint64, _ []byte) error {
		if field == 2 {
			n++
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return n
}
