package abuse

import (
	"encoding/binary"
	"fmt"
)

// tableAttacks have the registry hold a leaf table for each of many readers.
var tableAttacks = []attack{
	{finding: "3", sent: "64 blobs of 262,144 leaves, which nobody reads on", large: true, prepare: manyTables},
	{finding: "3", sent: "the same with a cache", store: true, large: true, prepare: manyTables},
	{finding: "3a", sent: "the same blobs, HEAD and the first byte of each, in turns", large: true, prepare: func(r *arena) func(*stranger) {
		return r.eachTable(func(s *stranger, path string) {
			s.head(path)
			s.get(path, "Range", "bytes=0-0")
		})
	}},
	{finding: "3a", sent: "the same with a cache", store: true, large: true, prepare: func(r *arena) func(*stranger) {
		return r.eachTable(func(s *stranger, path string) {
			s.head(path)
			s.get(path, "Range", "bytes=0-0")
		})
	}},
	{finding: "3b", sent: "the same blobs, the last byte of each, which nobody reads", large: true, prepare: func(r *arena) func(*stranger) {
		return r.eachTable(func(s *stranger, path string) { s.stall(path, "Range", "bytes=1000000-") })
	}},
}

func manyTables(r *arena) func(*stranger) {
	return r.eachTable(func(s *stranger, path string) { s.stall(path) })
}

// eachTable has each client ask for another blob of 262,144 leaves, and for other ones
// each time, of 256. With smaller leaves than 4 KiB, a blob has no leaf table.
func (r *arena) eachTable(ask func(s *stranger, path string)) func(*stranger) {
	var blobs []link
	for i := range 256 {
		leaf := make([]byte, 4<<10)
		binary.BigEndian.PutUint32(leaf, uint32(i))
		blobs = append(blobs, r.tall(r.raw(leaf), 512, 2).named(anyDigest(i)))
	}
	image := r.image(nil, blobs)
	return func(s *stranger) {
		i := s.number + s.asked*crowd
		s.asked++
		ask(s, fmt.Sprintf("/v2/%s/blobs/%s", image.cid, anyDigest(i%len(blobs))))
	}
}
