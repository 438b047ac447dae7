package deflate

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	klauspost "github.com/klauspost/compress/gzip"
)

// A member decompresses to its piece, and does not depend on what the encoder
// compressed before.
func TestRoundTrip(t *testing.T) {
	for level := 1; level <= MaxLevel; level++ {
		used := NewEncoder(level)
		for name, piece := range pieces() {
			if level != 4 && len(piece) > 2*maxStored {
				continue
			}
			member := used.Append([]byte("before"), piece)[len("before"):]
			if !bytes.Equal(decompress(t, member), piece) {
				t.Errorf("level %d: %s comes back as something else", level, name)
			}
			if !bytes.Equal(NewEncoder(level).Append(nil, piece), member) {
				t.Errorf("level %d: %s depends on what was compressed before", level, name)
			}
			if extra := len(member) - len(piece); extra > 64+len(piece)/500 {
				t.Errorf("level %d: %s grows by %d bytes", level, name, extra)
			}
		}
	}
}

const longest = maxBlock + 2*minBlock // bytes of the longest piece in these tests

// pieces returns pieces of all lengths that are special to the encoder, from fully
// compressible to not compressible at all.
func pieces() map[string][]byte {
	noise, words := noise(longest), words(longest)
	m := map[string][]byte{
		"nothing":           nil,
		"zeros":             make([]byte, longest),
		"noise":             noise,
		"words":             words,
		"noise, then words": slices.Concat(noise[:50_000], words[:50_000], noise[:50_000]),
		"noise twice":       slices.Concat(noise[:window], noise[:window]),
		"noise twice, too far": slices.Concat(
			noise[:window+1], noise[:window+1]),
		"every byte":    slices.Repeat(ascending(), 200),
		"rare bytes":    fibonacci(),
		"end of match":  []byte(strings.Repeat("abcdefgh", 40)),
		"longest match": slices.Concat(noise[:maxMatch], noise[:maxMatch], noise[:maxMatch+1]),
	}
	for _, n := range []int{1, 2, 3, 4, lookahead - 1, lookahead, lookahead + 1, minBlock, 2 * minBlock, maxBlock, maxBlock + 1, maxStored, maxStored + 1} {
		m[fmt.Sprintf("%d of noise", n)] = noise[:n]
		m[fmt.Sprintf("%d of words", n)] = words[:n]
		m[fmt.Sprintf("%d zeros", n)] = make([]byte, n)
	}
	return m
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// words is text of a few hundred words, some of them far more frequent. It is made
// of integers alone, so it is the same on every machine.
func words(n int) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	vocabulary := make([]string, 300)
	for i := range vocabulary {
		vocabulary[i] = fmt.Sprintf("%x ", r.Uint64()>>(20+r.UintN(40)))
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(vocabulary[r.IntN(1+r.IntN(len(vocabulary)))])
	}
	return b.Bytes()[:n]
}

func ascending() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// fibonacci returns bytes whose frequencies make Huffman's tree as deep as possible,
// so that the lengths of code words must be limited.
func fibonacci() []byte {
	var b []byte
	for i, n, next := 0, 1, 1; i < 24; i, n, next = i+1, next, n+next {
		b = append(b, bytes.Repeat([]byte{byte(i)}, n)...)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	return b
}

// The members of these pieces are part of format 1, at every level. They must not change,
// since they are on IPFS already.
func TestGolden(t *testing.T) {
	kinds := pieces()
	kinds["tar headers"] = headers()
	for name, want := range map[string][MaxLevel]string{ // the hash of the member, by level
		"nothing":              {"30e6fa98", "30e6fa98", "30e6fa98", "30e6fa98", "30e6fa98", "30e6fa98", "30e6fa98", "30e6fa98", "30e6fa98"},
		"1 of noise":           {"69c4b490", "69c4b490", "69c4b490", "69c4b490", "69c4b490", "69c4b490", "69c4b490", "69c4b490", "69c4b490"},
		"zeros":                {"1a5b8d74", "1a5b8d74", "1a5b8d74", "1a5b8d74", "1a5b8d74", "1a5b8d74", "1a5b8d74", "1a5b8d74", "1a5b8d74"},
		"noise":                {"e7f195d7", "e7f195d7", "e7f195d7", "e7f195d7", "e7f195d7", "e7f195d7", "e7f195d7", "e7f195d7", "e7f195d7"},
		"words":                {"887f7bcb", "1f582317", "7a01b03b", "97f5d50c", "45d6654b", "286256a2", "643b6c1c", "640f4621", "dfba0396"},
		"noise, then words":    {"2a426150", "2a426150", "2a426150", "2a426150", "2a426150", "2a426150", "2f971a51", "e7c292ca", "f95ee6de"},
		"noise twice":          {"2714acef", "2714acef", "2714acef", "2714acef", "2714acef", "2714acef", "2714acef", "2714acef", "2714acef"},
		"noise twice, too far": {"e9b7dd1d", "e9b7dd1d", "e9b7dd1d", "e9b7dd1d", "e9b7dd1d", "e9b7dd1d", "e9b7dd1d", "e9b7dd1d", "e9b7dd1d"},
		"every byte":           {"91dc06d0", "91dc06d0", "ef83fd45", "ef83fd45", "ef83fd45", "ef83fd45", "c55c6add", "e9ee0873", "e9ee0873"},
		"rare bytes":           {"7dfcfdb5", "39d8664c", "3700982c", "c94c684c", "4e06bf5f", "21d3fdf0", "8992c207", "d293f76f", "a3c1c5e2"},
		"end of match":         {"3320d9a0", "3320d9a0", "3320d9a0", "3320d9a0", "3320d9a0", "3320d9a0", "3320d9a0", "3320d9a0", "3320d9a0"},
		"longest match":        {"cbba5ce2", "cbba5ce2", "452f1cca", "452f1cca", "452f1cca", "452f1cca", "08a0be9a", "08a0be9a", "08a0be9a"},
		"tar headers":          {"eaa07d4a", "cdbb1864", "8dcc6b1f", "4d52ce1e", "7eb47901", "023387f3", "b8f29cf8", "1393201f", "b1e96b3c"},
	} {
		for i, want := range want {
			sum := sha256.Sum256(NewEncoder(i+1).Append(nil, kinds[name]))
			if got := hex.EncodeToString(sum[:4]); got != want {
				t.Errorf("level %d: the member of %s is %s, want %s", i+1, name, got, want)
			}
		}
	}
}

// headers is much like the headers of a tar: long runs of zeros, and names and
// numbers that change a little from one to the next.
func headers() []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(2, 2))
	for i := range 400 {
		block := make([]byte, 512)
		copy(block, fmt.Sprintf("usr/share/doc/package-%d/file-%d", i/7, r.UintN(1000)))
		copy(block[100:], fmt.Sprintf("0000644\x000000000\x000000000\x00%011o\x00%011o", r.UintN(100_000), 14_000_000_000+r.UintN(1000)))
		copy(block[257:], "ustar\x0000root")
		b.Write(block)
	}
	return b.Bytes()
}

func FuzzEncoder(f *testing.F) {
	for _, piece := range pieces() {
		if len(piece) < 10_000 {
			f.Add(piece, uint8(4))
		}
	}
	f.Fuzz(func(t *testing.T, piece []byte, level uint8) {
		// Long enough for several blocks, and for matches that are far away.
		piece = bytes.Repeat(piece, min(20, 1+70_000/(len(piece)+1)))
		member := NewEncoder(1+int(level)%MaxLevel).Append(nil, piece)
		if !bytes.Equal(decompress(t, member), piece) {
			t.Fatal("the piece comes back as something else")
		}
	})
}

func BenchmarkEncoder(b *testing.B) {
	for level := 1; level <= MaxLevel; level++ {
		b.Run(fmt.Sprint(level), func(b *testing.B) {
			e, piece, member := NewEncoder(level), words(longest), []byte(nil)
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				member = e.Append(member[:0], piece)
			}
			b.ReportMetric(float64(len(member))/float64(len(piece)), "ratio")
		})
	}
}

// decompress reads a member with two decoders, which must agree. tests/ has those
// that are not written in Go.
func decompress(t *testing.T, member []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(member))
	if err != nil {
		t.Fatal(err)
	}
	piece, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	k, err := klauspost.NewReader(bytes.NewReader(member))
	if err != nil {
		t.Fatalf("klauspost/compress: %v", err)
	}
	if other, err := io.ReadAll(k); err != nil || !bytes.Equal(other, piece) {
		t.Fatalf("klauspost/compress reads something else, %v", err)
	}
	return piece
}
