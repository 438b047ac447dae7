package deflate

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Members are what came in, whatever the encoder did before. Levels differ in how
// they look for matches, and so in what is not too long for a block.
func TestRoundTrip(t *testing.T) {
	for _, level := range []int{1, 4, MaxLevel} {
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

const longest = maxBlock + 2*minBlock // bytes of a piece of these tests

// pieces are of all lengths that are special, and as compressible as can be, or
// not at all.
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

func words(n int) []byte {
	r := rand.New(rand.NewPCG(1, 1))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%x ", r.ExpFloat64()*100)
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

// fibonacci has bytes whose frequencies make Huffman's tree as deep as can be.
func fibonacci() []byte {
	var b []byte
	for i, n, next := 0, 1, 1; i < 24; i, n, next = i+1, next, n+next {
		b = append(b, bytes.Repeat([]byte{byte(i)}, n)...)
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	return b
}

// What a piece becomes is part of format 1.
func TestGolden(t *testing.T) {
	all, kinds := sha256.New(), pieces()
	for level := 1; level <= MaxLevel; level++ {
		e := NewEncoder(level)
		for _, name := range []string{"nothing", "zeros", "noise, then words", "words", "rare bytes", "every byte"} {
			all.Write(e.Append(nil, kinds[name]))
		}
	}
	const want = "2a874edbf913cb3f"
	if got := fmt.Sprintf("%x", all.Sum(nil)[:8]); got != want {
		t.Errorf("members are %s, want %s", got, want)
	}
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
	return piece
}
