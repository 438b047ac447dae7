package oddarchive

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
)

// gzipHeader is the header of a gzip file with the given flags.
func gzipHeader(flags byte, more string) []byte {
	return append([]byte{0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 0xff}, more...)
}

func gzipped(b []byte) []byte { return gzippedAt(flate.DefaultCompression, b) }

func gzippedAt(level int, b []byte) []byte {
	return inOrder(gzipHeader(0, ""), deflated(level, b), gzipTrailer(b))
}

func deflated(level int, b []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		panic(err) // a fault of this package
	}
	w.Write(b) // into memory
	w.Close()
	return out.Bytes()
}

func gzipTrailer(b []byte) []byte {
	return le32(crc32.ChecksumIEEE(b), uint32(len(b)))
}

func le32(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// zstdFrame returns a frame that gives the size of its content, and so a window of
// that size.
func zstdFrame(b []byte) []byte {
	return append(append([]byte("\x28\xb5\x2f\xfd\xa0"), le32(uint32(len(b)))...), zstdBlocks(b)...)
}

// zstdWindowed returns a frame that asks for a window of 2^log bytes.
func zstdWindowed(log int, b []byte) []byte {
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(log-10) << 3}, zstdBlocks(b)...)
}

// zstdBlocks returns raw blocks, which are the same whatever encoder is at hand.
func zstdBlocks(b []byte) []byte {
	const size = 1 << 16
	var out []byte
	for {
		n := min(len(b), size)
		last := uint32(0)
		if n == len(b) {
			last = 1
		}
		out = append(out, le32(last | uint32(n)<<3)[:3]...)
		out = append(out, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return out
		}
	}
}

// skippable returns a zstd frame that decoders pass over.
func skippable(content []byte) []byte {
	return append(le32(0x184d2a50, uint32(len(content))), content...)
}

// pzstd returns what pzstd writes: before each frame, a skippable one with its size.
func pzstd(b []byte) []byte {
	half := len(b) / 1024 * 512
	var out []byte
	for _, part := range [][]byte{b[:half], b[half:]} {
		frame := zstdFrame(part)
		out = append(append(out, skippable(le32(uint32(len(frame))))...), frame...)
	}
	return out
}

// xz returns an xz file of one block whose content is stored.
func xz(b []byte) []byte { return xzWith(0, b) }

// xzWith is xz with a dictionary of 2^(12+n/2) bytes, for even n.
func xzWith(n byte, b []byte) []byte {
	flags := []byte{0, 1} // CRC32
	stream := inOrder([]byte("\xfd7zXZ\x00"), flags, le32(crc32.ChecksumIEEE(flags)))
	block := []byte{2, 0, 0x21, 1, n, 0, 0, 0} // LZMA2 alone
	block = append(block, le32(crc32.ChecksumIEEE(block))...)
	control := byte(1) // the first chunk resets the dictionary
	for rest := b; len(rest) > 0; control = 2 {
		n := min(len(rest), 1<<16)
		block = append(block, control, byte((n-1)>>8), byte(n-1))
		block = append(block, rest[:n]...)
		rest = rest[n:]
	}
	block = append(block, 0)
	unpadded := len(block) + 4 // with the check
	block = append(block, make([]byte, -len(block)&3)...)
	block = append(block, le32(crc32.ChecksumIEEE(b))...)
	index := []byte{0, 1}
	index = binary.AppendUvarint(index, uint64(unpadded))
	index = binary.AppendUvarint(index, uint64(len(b)))
	index = append(index, make([]byte, -len(index)&3)...)
	index = append(index, le32(crc32.ChecksumIEEE(index))...)
	footer := append(le32(uint32(len(index)/4-1)), flags...)
	return inOrder(stream, block, index, le32(crc32.ChecksumIEEE(footer)), footer, []byte("YZ"))
}
