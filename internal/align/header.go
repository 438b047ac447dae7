package align

import "hash/fnv"

// BlockSize is the size of the blocks of a tar, in bytes. Each entry is a whole number of
// blocks.
const BlockSize = 512

// The places of the fields of a header that cutting needs: those of ustar, GNU and pax.
// https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html
const (
	nameEnd     = 100
	sizeStart   = 124
	sizeEnd     = 136
	sumStart    = 148
	sumEnd      = 156
	typeflag    = 156
	prefixStart = 345
	prefixEnd   = 500
)

// A header is what cutting needs of an entry's header.
type header struct {
	size     int64 // bytes of content that follow
	extends  bool  // it extends the next header, and is not an entry itself
	nameHash uint32
}

// padded returns the number of bytes before the next header.
func (h header) padded() int64 { return (h.size + BlockSize - 1) &^ (BlockSize - 1) }

// maxSize is more than any layer has, and far from overflowing.
const maxSize = 1 << 60

// parseHeader reads a block as a header, if it has a header's checksum.
func parseHeader(b []byte) (header, bool) {
	if b[0] == 0 || !checksumMatches(b) {
		return header{}, false
	}
	var h header
	switch b[typeflag] {
	case '1', '2', '3', '4', '5', '6': // links, devices, directories have no content
	case 'x', 'g', 'L', 'K':
		h.extends = true
		fallthrough
	default:
		var ok bool
		if h.size, ok = number(b[sizeStart:sizeEnd]); !ok || h.size > maxSize {
			return header{}, false
		}
	}
	name := fnv.New32a()
	name.Write(b[:nameEnd])
	name.Write(b[prefixStart:prefixEnd])
	h.nameHash = mix(name.Sum32())
	return h, true
}

// IsTar reports whether a file is a tar by its beginning, of at least one block.
func IsTar(beginning []byte) bool {
	if len(beginning) < BlockSize {
		return false
	}
	_, ok := parseHeader(beginning[:BlockSize])
	return ok
}

// mix spreads the differences in the high bits of FNV hashes to the low bits, which
// decide about cuts.
func mix(h uint32) uint32 { return (h ^ h>>15) * 0x2c1b3c6d >> 16 }

func checksumMatches(b []byte) bool {
	want, ok := number(b[sumStart:sumEnd])
	if !ok {
		return false
	}
	var sum int64
	for _, v := range b {
		sum += int64(v)
	}
	for _, v := range b[sumStart:sumEnd] {
		sum += ' ' - int64(v) // the checksum's own bytes count as blanks
	}
	return sum == want
}

// number reads a field: octal digits among blanks and zero bytes or, if the first bit is
// set, a binary number, as GNU tar writes large ones.
func number(field []byte) (n int64, ok bool) {
	if field[0]&0x80 != 0 {
		return binaryNumber(field)
	}
	for len(field) > 0 && field[0] == ' ' {
		field = field[1:]
	}
	for _, v := range field {
		if v == ' ' || v == 0 {
			break
		}
		if v < '0' || v > '7' {
			return 0, false
		}
		n = n<<3 | int64(v-'0')
	}
	return n, true
}

func binaryNumber(field []byte) (n int64, ok bool) {
	if field[0] != 0x80 {
		return 0, false // negative, or beyond all bounds
	}
	for _, v := range field[1:] {
		if n > maxSize>>8 {
			return 0, false
		}
		n = n<<8 | int64(v)
	}
	return n, true
}
