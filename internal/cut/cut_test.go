package cut

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/align"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A builder makes pieces of blobs that look random.
type builder struct{ *rand.Rand }

func newBuilder(seed uint64) builder { return builder{rand.New(rand.NewPCG(seed, 1))} }

func (b builder) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(b.Uint32())
	}
	return p
}

// raw returns a frame of blocks that are not compressed, of n bytes of content.
func (b builder) raw(n int) []byte {
	frame := append(bytes.Clone(zstdMagic), 0x00, 0x58) // no checksum, a window of 2 MiB
	for {
		size := min(n, maxBlock)
		n -= size
		h := uint32(size << 3)
		if n == 0 {
			h |= 1
		}
		frame = append(frame, byte(h), byte(h>>8), byte(h>>16))
		frame = append(frame, b.bytes(size)...)
		if n == 0 {
			return frame
		}
	}
}

func (b builder) skippable(n int) []byte {
	frame := []byte{0x50 + byte(b.IntN(16)), 0x2a, 0x4d, 0x18}
	return append(binary.LittleEndian.AppendUint32(frame, uint32(n)), b.bytes(n)...)
}

// compressed returns a frame of n bytes of content, with one of the headers and kinds of
// blocks that encoders make.
func (b builder) compressed(t testing.TB, n int) []byte {
	t.Helper()
	content := b.bytes(n)
	switch b.IntN(3) {
	case 0:
		clear(content) // run-length blocks
	case 1:
		for i := range content {
			content[i] &= 0x13
		}
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(b.IntN(2) == 0), zstd.WithSingleSegment(b.IntN(2) == 0), zstd.WithWindowSize(1<<(10+b.IntN(10))), zstd.WithZeroFrames(true))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if b.IntN(2) == 0 {
		return z.EncodeAll(content, nil)
	}
	var out bytes.Buffer // without the size of the content
	z.Reset(&out)
	z.Write(content)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (b builder) gzip(n int) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b.bytes(n))
	z.Close()
	return out.Bytes()
}

// tableOf cuts a blob that comes in pieces of random sizes.
func tableOf(t testing.TB, p unixfs.Profile, r *rand.Rand, blob []byte) *unixfs.Table {
	t.Helper()
	c := NewCutter(p)
	defer c.Close()
	for rest := blob; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(1<<r.IntN(20)))
		c.Write(rest[:n])
		rest = rest[n:]
	}
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	checkTable(t, f.Table, blob)
	return f.Table
}

// checkTable checks that leaves are those of a blob, and none is too large.
func checkTable(t testing.TB, table *unixfs.Table, blob []byte) {
	t.Helper()
	if table.Size() != int64(len(blob)) {
		t.Fatalf("the leaves have %d bytes of %d", table.Size(), len(blob))
	}
	for i, l := range table.Leaves {
		if n := table.Len(i); n > unixfs.MaxLeaf || n == 0 && len(blob) > 0 {
			t.Fatalf("leaf %d has %d bytes", i, n)
		}
		if !table.Verify(i, blob[table.Start(i):l.End]) {
			t.Fatalf("leaf %d has a false digest", i)
		}
	}
}

func fixedTable(p unixfs.Profile, blob []byte) *unixfs.Table {
	c := p.NewCutter()
	c.Write(blob)
	if len(blob) == 0 {
		p.Layout(c.Table()) // adds the empty leaf
	}
	return c.Table()
}

func TestFramesAreFoundWhereTheyEnd(t *testing.T) {
	b := newBuilder(1)
	var blob []byte
	var want, got []int
	for i := range 400 {
		n := b.IntN(1 << b.IntN(17))
		switch i % 4 {
		case 0:
			blob = append(blob, b.skippable(n)...)
		case 1:
			blob = append(blob, b.raw(n*4)...)
		default:
			blob = append(blob, b.compressed(t, n)...)
		}
		want = append(want, len(blob))
	}
	var f frameFinder
	for at := 0; at < len(blob); {
		n, end := f.next(blob[at:min(len(blob), at+1+b.IntN(3000))])
		if at += n; end {
			got = append(got, at)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d frames, want %d", len(got), len(want))
	}
}

// reference cuts frames as docs/format-1.md says it.
func reference(frames [][]byte) (ends []int64) {
	at, run := int64(0), 0
	end := func() {
		if run > 0 {
			ends = append(ends, at)
		}
		run = 0
	}
	for _, f := range frames {
		if len(f) > 64<<10 {
			end()
			for len(f) > 0 {
				run = min(len(f), 1<<20)
				at, f = at+int64(run), f[run:]
				end()
			}
			continue
		}
		run += len(f)
		at += int64(len(f))
		h := crc32.ChecksumIEEE(f)
		if run >= 64<<10 && run < 128<<10 && h%8 == 0 || run >= 128<<10 && run < 256<<10 && h%4 == 0 || run >= 256<<10 {
			end()
		}
	}
	end()
	return ends
}

func TestZstdIsCutAtRunsOfWholeFrames(t *testing.T) {
	b := newBuilder(2)
	for _, sizes := range []func() int{
		func() int { return b.IntN(200) },
		func() int { return b.IntN(20_000) },
		func() int { return 64<<10 - 20 + b.IntN(40) },
		func() int { return b.IntN(1 << (8 + b.IntN(15))) },
	} {
		var frames [][]byte
		for total := 0; total < 6<<20; {
			frame := b.raw(sizes())
			if b.IntN(5) == 0 {
				frame = b.skippable(sizes())
			}
			frames = append(frames, frame)
			total += len(frame)
		}
		blob := slices.Concat(frames...)
		table := tableOf(t, unixfs.V1, b.Rand, blob)
		var got []int64
		for _, l := range table.Leaves {
			got = append(got, l.End)
		}
		if want := reference(frames); !slices.Equal(got, want) {
			t.Errorf("%d frames have %d leaves, want %d", len(frames), len(got), len(want))
		}
		if got := tableOf(t, unixfs.V0, b.Rand, blob); !reflect.DeepEqual(got, fixedTable(unixfs.V0, blob)) {
			t.Error("leaves of a profile with a fixed length differ")
		}
	}
}

func TestNewFramesLeaveTheOtherLeavesAsTheyAre(t *testing.T) {
	b := newBuilder(3)
	var frames [][]byte
	for range 2000 {
		frames = append(frames, b.raw(b.IntN(10_000)))
	}
	before := tableOf(t, unixfs.V1, b.Rand, slices.Concat(frames...))
	known := map[[sha256.Size]byte]bool{}
	for _, l := range before.Leaves {
		known[l.Digest] = true
	}
	changed := slices.Insert(slices.Clone(frames), 700, b.raw(3000), b.raw(500))
	changed[1400] = b.raw(777)
	after := tableOf(t, unixfs.V1, b.Rand, slices.Concat(changed...))
	fresh := 0
	for _, l := range after.Leaves {
		if !known[l.Digest] {
			fresh++
		}
	}
	if fresh > 6 {
		t.Errorf("%d of %d leaves are new after two changes", fresh, len(after.Leaves))
	}
}

// A blob of one frame, as most programs write, has the leaves that it always had.
func TestOneFrameIsCutAsTheProfileCuts(t *testing.T) {
	b := newBuilder(4)
	for _, n := range []int{0, 10, 64 << 10, 300_000, 1<<20 - 30, 1 << 20, 3_500_000} {
		for name, blob := range map[string][]byte{
			"a frame":                  b.raw(n),
			"a damaged frame":          append(bytes.Clone(zstdMagic), b.bytes(n)...),
			"a reserved bit":           append(bytes.Clone(zstdMagic), append([]byte{0x08}, b.bytes(n)...)...),
			"a frame without its end":  b.raw(n + 1)[:n],
			"a skippable frame":        b.skippable(n),
			"one larger than its blob": append([]byte{0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff}, b.bytes(n)...),
			"none":                     append([]byte("a tar"), b.bytes(n)...),
			"part of a magic number":   zstdMagic[:3],
		} {
			if got := tableOf(t, unixfs.V1, b.Rand, blob); !reflect.DeepEqual(got, fixedTable(unixfs.V1, blob)) {
				t.Errorf("%s of %d bytes has %d leaves", name, n, len(got.Leaves))
			}
		}
	}
}

func TestGzipIsCutAtItsMembers(t *testing.T) {
	b := newBuilder(5)
	small, empty, large := b.gzip(5000), b.gzip(0), b.gzip(unixfs.MaxLeaf+1)
	exact := slices.Concat(small, b.gzip(unixfs.MaxLeaf-1000))
	endless := append(bytes.Clone(small[:10]), bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20)...) // blocks of nothing
	for name, test := range map[string]struct {
		blob []byte
		ends []int // nil for a fixed length
	}{
		"one member":        {small, []int{len(small)}},
		"several members":   {slices.Concat(small, empty, small, exact), []int{len(small), len(small) + len(empty), 2*len(small) + len(empty), 3*len(small) + len(empty), 2*len(small) + len(empty) + len(exact)}},
		"a large member":    {slices.Concat(small, large, small), nil},
		"a large one":       {large, nil},
		"damaged":           {slices.Concat(small, small[:20]), nil},
		"then a byte":       {append(bytes.Clone(small), 0), nil},
		"then zeros":        {append(bytes.Clone(small), make([]byte, 2<<20)...), nil},
		"no gzip":           {append([]byte(gzipMagic), b.bytes(3<<20)...), nil},
		"half a header":     {small[:5], nil},
		"blocks of nothing": {endless, nil},
	} {
		got := tableOf(t, unixfs.V1, b.Rand, test.blob)
		if test.ends == nil {
			if !reflect.DeepEqual(got, fixedTable(unixfs.V1, test.blob)) {
				t.Errorf("%s: %d leaves", name, len(got.Leaves))
			}
			continue
		}
		var ends []int
		for _, l := range got.Leaves {
			ends = append(ends, int(l.End))
		}
		if !slices.Equal(ends, test.ends) {
			t.Errorf("%s: leaves end at %d, want %d", name, ends, test.ends)
		}
	}
}

// A tar is cut into the pieces of package align, and so is any other file that is long.
func TestPlainFilesAreCutByTheirContent(t *testing.T) {
	b := newBuilder(10)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i := range 100 {
		content := b.bytes(b.IntN(90_000))
		w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file-%d", i), Size: int64(len(content))})
		w.Write(content)
	}
	w.Close()
	long := bytes.Repeat(b.bytes(1<<20), MaxFixed>>20)
	for name, test := range map[string]struct {
		blob     []byte
		isPieces bool
	}{
		"a tar":        {archive.Bytes(), true},
		"a short file": {archive.Bytes()[1:], false},
		"64 MiB":       {long, false},
		"a byte more":  {append(long[:len(long):len(long)], 1), true},
	} {
		want := fixedTable(unixfs.V1, test.blob)
		if test.isPieces {
			want = unixfs.V1.NewTable()
			a := align.NewCutter(func(piece []byte) ([]byte, error) {
				want.Add(piece)
				return piece, nil
			})
			a.Write(test.blob)
			a.Close()
		}
		if got := tableOf(t, unixfs.V1, b.Rand, test.blob); !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %d leaves, want %d", name, len(got.Leaves), len(want.Leaves))
		}
	}
}

func TestTooManyMembersAreCutLikeAnyFile(t *testing.T) {
	b := newBuilder(6)
	for n, isCut := range map[int]bool{maxMembers: true, maxMembers + 1: false} {
		blob := bytes.Repeat(b.gzip(0), n)
		c := NewCutter(unixfs.V1)
		io.Copy(c, bytes.NewReader(blob))
		f, err := c.File()
		if err != nil || (len(f.Table.Leaves) == n) != isCut {
			t.Errorf("%d members have %d leaves, %v", n, len(f.Table.Leaves), err)
		}
		c.Close()
	}
}

// Gzip that decompresses to far more than its length costs bounded time.
func TestDenseGzipIsCutLikeAnyFile(t *testing.T) {
	const content = 1 << 20
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	z.Write(make([]byte, content))
	z.Close()
	most := freeContent / (content - mostRatio*member.Len()) // members of a blob that is not dense
	for n, isCut := range map[int]bool{most: true, most + 1: false} {
		got := tableOf(t, unixfs.V1, newBuilder(11).Rand, bytes.Repeat(member.Bytes(), n))
		if (len(got.Leaves) == n) != isCut {
			t.Errorf("%d members have %d leaves", n, len(got.Leaves))
		}
	}
	z.Reset(&member)
	z.Write(make([]byte, 2*freeContent)) // in one member, which could be a leaf
	z.Close()
	if got := tableOf(t, unixfs.V1, newBuilder(12).Rand, member.Bytes()); len(got.Leaves) != 1 {
		t.Errorf("a dense member and another one are %d leaves", len(got.Leaves))
	}
}

// A cutter that waits for the next bytes of a compressed blob holds little memory, so a
// thousand uploads may wait.
func TestCutterHoldsLittleOfCompressedBlobs(t *testing.T) {
	b := newBuilder(13)
	for name, blob := range map[string][]byte{
		"gzip in a large member":   b.gzip(900_000),
		"gzip in small members":    slices.Concat(b.gzip(300_000), b.gzip(300_000), b.gzip(300_000)),
		"zstd in a large frame":    b.raw(900_000),
		"zstd in a run of frames":  slices.Concat(b.raw(60_000), b.raw(60_000)),
		"gzip, and it is too long": b.gzip(3 << 20),
	} {
		cutters := make([]*Cutter, 50)
		before := heap()
		for i := range cutters {
			cutters[i] = NewCutter(unixfs.V1)
			cutters[i].Write(blob[:len(blob)-1000])
		}
		if held := (heap() - before) / len(cutters); held > 200<<10 {
			t.Errorf("%s: a cutter holds %d KiB", name, held>>10)
		}
		for _, c := range cutters {
			c.Close()
		}
	}
}

// heap returns how many bytes are allocated and in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestCutterMayBeAbandoned(*testing.T) {
	b := newBuilder(7)
	for _, blob := range [][]byte{nil, b.gzip(100_000), b.raw(100_000), b.bytes(100_000)} {
		c := NewCutter(unixfs.V1)
		c.Write(blob[:len(blob)/2])
		c.Close()
		c.Close()
	}
}

// The leaves are part of format 1.
func TestGoldenCuts(t *testing.T) {
	b := newBuilder(8)
	chunked := []byte{}
	for range 600 { // as of zstd:chunked: a frame for a header, and some for the content
		chunked = append(chunked, b.raw(100+b.IntN(500))...)
		for range 1 + b.IntN(2) {
			chunked = append(chunked, b.raw(b.IntN(1<<(6+b.IntN(12))))...)
		}
	}
	chunked = slices.Concat(chunked, b.skippable(50_000), b.skippable(20_000), b.skippable(64))
	for _, test := range []struct {
		name        string
		blob        []byte
		leaves      int
		sum, v1, v0 string
	}{
		{"small", b.raw(1000), 1, "03098351", "bafkreiadbgbvda5rakqg2lowpnx2c3o3vcwsm3tnhmsq5lqajurkk77j7u", "QmUXCcrifyNraWHG97UXuMG7zm15xYdoGquZNB6L2q82mr"},
		{"of one frame", b.raw(2_500_000), 3, "bf75d4d8", "bafybeicvfaxjq5vca2qlosfys3fuuflzyx3bpnwwel22gder7r6fjdj6tm", "Qmae1LkJYxFzY5n4VwY3ZxHPhADm5uE7agpRpzfK7v5KsR"},
		{"of several frames", slices.Concat(b.skippable(12), b.raw(300_000), b.raw(1_500_000), b.raw(10), b.raw(10), b.raw(700_000)), 6, "06115601", "bafybeifkaybjvnfvkpt3t4axyme6yt6rgizxbhnm3sos57jqogk2wtuwom", "QmPeVtVAUGTEsGeNGoKKnYvrgpu6ZtyEhwjbLdqiixzrRM"},
		{"chunked", chunked, 116, "1eeb1702", "bafybeidhu4xiusiplgvcpvthgfuvsfmmomjyr5rdpgxfwpyzbatucgf4gm", "QmQywvFhNghHdmvCBtdLcchXmozJkLF1PZdHLQ16kEddZR"},
		{"chunked and cut off", chunked[:len(chunked)/2], 57, "3a288e41", "bafybeigcza5xkwck35yayrdd53m3ldb4vtmxkalc4hadn3qicgfiqndcba", "QmTzjUNeurAF6Y82sU7qWjMdeZLkv9nEsctHnxQSxauUh9"},
	} {
		sum := sha256.Sum256(test.blob)
		if got := hex.EncodeToString(sum[:4]); got != test.sum {
			t.Errorf("%s: the test's blob has changed, to %s", test.name, got)
		}
		for i, p := range []unixfs.Profile{unixfs.V1, unixfs.V0} {
			c := NewCutter(p)
			c.Write(test.blob)
			f, err := c.File()
			if want := []string{test.v1, test.v0}[i]; err != nil || f.CID.String() != want {
				t.Errorf("%s: %s gives %s, want %s, %v", test.name, p, f.CID, want, err)
			}
			if p == unixfs.V1 && len(f.Table.Leaves) != test.leaves {
				t.Errorf("%s: %d leaves, want %d", test.name, len(f.Table.Leaves), test.leaves)
			}
		}
	}
}

// Any bytes are cut into leaves of legal sizes, however they come. Sound zstd ends with
// the end of a frame.
func FuzzCutter(f *testing.F) {
	b := newBuilder(9)
	for _, blob := range [][]byte{
		b.raw(100), b.skippable(30), slices.Concat(b.skippable(4), b.raw(70_000), b.raw(10)),
		b.compressed(f, 1000), b.compressed(f, 70_000), b.compressed(f, 0), b.compressed(f, 3), b.compressed(f, 300_000),
		b.gzip(100), slices.Concat(b.gzip(10), b.gzip(0), b.gzip(70_000)), zstdMagic, []byte(gzipMagic), nil,
	} {
		f.Add(blob, uint64(1))
		for i := range min(len(blob), 20) {
			flipped := bytes.Clone(blob)
			flipped[i] ^= 1 << (i % 8)
			f.Add(flipped, uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte, seed uint64) {
		got := tableOf(t, unixfs.V1, rand.New(rand.NewPCG(seed, 0)), blob)
		c := NewCutter(unixfs.V1)
		defer c.Close()
		c.Write(blob)
		whole, err := c.File()
		if err != nil || !reflect.DeepEqual(got, whole.Table) {
			t.Fatalf("the leaves depend on how the blob comes, %v", err)
		}
		z, err := zstd.NewReader(bytes.NewReader(blob), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		if _, err := io.Copy(io.Discard, z); err != nil || len(blob) == 0 {
			return
		}
		var frames frameFinder
		for at, end := 0, false; at < len(blob); {
			var n int
			if n, end = frames.next(blob[at:]); at+n == len(blob) && !end {
				t.Fatal("sound zstd ends in the middle of a frame")
			}
			at += n
		}
	})
}
