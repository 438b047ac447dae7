package align

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPiecesAreTheBytesThatCameIn(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for name, layer := range layers() {
		want := pieces(t, layer, len(layer)+1)
		if !bytes.Equal(slices.Concat(want...), layer) {
			t.Errorf("%s: the pieces are not the layer", name)
		}
		for i, p := range want {
			if len(p) == 0 || len(p) > MaxPiece {
				t.Errorf("%s: piece %d has %d bytes", name, i, len(p))
			}
		}
		for _, n := range []int{1 + random.IntN(100), 511, 512, 1 << 20} {
			if got := pieces(t, layer, n); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%s: other cuts if written in pieces of %d", name, n)
			}
		}
	}
}

// layers returns tars of every kind, and inputs that are not tars.
func layers() map[string][]byte {
	big := random("big", 3<<19)
	valid := newTar().dir("usr/").many("usr/share/doc/", 300, 2000).file("usr/bin/app", big).
		file("usr/lib/lib.so", big[:largeFile+1]).link("usr/lib/lib.so.1", "lib.so").many("var/", 50, 20_000).close()
	damaged := bytes.Clone(valid)
	for i := 100_000; i < len(damaged); i += 100_000 {
		damaged[i] ^= 1
	}
	long := strings.Repeat("long/", 60)
	return map[string][]byte{
		"nothing":          {},
		"a byte":           {1},
		"an empty tar":     newTar().close(),
		"files":            valid,
		"no end":           valid[:len(valid)-1024],
		"cut off":          valid[:len(valid)/3],
		"damaged":          damaged,
		"two tars":         slices.Concat(valid, valid),
		"trailing zeros":   slices.Concat(valid, make([]byte, 2<<20)),
		"trailing text":    slices.Concat(valid, []byte("that is all")),
		"random":           big,
		"zeros":            make([]byte, 3<<19),
		"text":             bytes.Repeat([]byte("no tar at all, line after line\n"), 40_000),
		"tiny files":       newTar().many("tiny/", 3000, 10).close(),
		"one name":         newTar().same("name", 2000).close(),
		"long names, pax":  newTar().format(tar.FormatPAX).many(long, 300, 2000).file(long+"big", big).close(),
		"long names, GNU":  newTar().format(tar.FormatGNU).many(long, 300, 2000).file(long+"big", big).close(),
		"long pax record":  newTar().record("comment", 3*maxExtension).file("a", []byte("b")).close(),
		"ends in a header": slices.Concat(make([]byte, pieceMax-BlockSize), newTar().record("comment", 60_000).file("a", nil).close()[:60_000]),
		"huge size":        claims(1 << 50),
		"beyond all size":  claims(1 << 62),
	}
}

// An insertion changes only the pieces near it.
func TestAnInsertionMovesNothingFarAway(t *testing.T) {
	build := func(insert int) []byte {
		w := newTar()
		for i := range 1000 {
			if i == insert {
				w.file("etc/inserted", random("inserted", 1000))
			}
			w.file(fmt.Sprintf("etc/file-%04d", i), random(fmt.Sprint(i), 100+i%7000))
			if i%200 == 0 {
				w.file(fmt.Sprintf("bin/program-%04d", i), random(fmt.Sprint("p", i), 1<<20))
			}
		}
		return w.close()
	}
	before := set(pieces(t, build(-1), 1<<20))
	for _, at := range []int{0, 1, 499, 501, 999} {
		lost := 0
		for _, p := range pieces(t, build(at), 1<<20) {
			if !before[sha256.Sum256(p)] {
				lost += len(p)
			}
		}
		if lost > 3*groupMax {
			t.Errorf("an entry inserted at %d changes %d bytes of pieces", at, lost)
		}
	}
}

// A large file gives the same pieces wherever it is, and when its times differ.
func TestEqualFilesGiveEqualPieces(t *testing.T) {
	for _, size := range []int{largeFile + 1, 1 << 18, 5<<20 + 1} {
		content := random("content", size)
		here := set(pieces(t, newTar().many("a/", 40, 1000).file("bin/app", content).many("b/", 40, 1000).close(), 1<<20))
		there := pieces(t, newTar().at(time.Unix(1e9, 0)).file("opt/other/name", content).close(), 1<<20)
		// The first piece is the header, and the last one the archive's end.
		for i, p := range there[1 : len(there)-1] {
			if !here[sha256.Sum256(p)] {
				t.Errorf("piece %d of a file of %d bytes is not shared", i, size)
			}
		}
	}
}

// An insertion into a long file, too, changes only the pieces near it.
func TestAnInsertionIntoALargeFile(t *testing.T) {
	content := random("content", 8<<20)
	longer := slices.Concat(content[:3<<20], []byte("inserted"), content[3<<20:])
	before := set(pieces(t, newTar().file("f", content).close(), 1<<20))
	lost := 0
	for _, p := range pieces(t, newTar().file("f", longer).close(), 1<<20) {
		if !before[sha256.Sum256(p)] {
			lost += len(p)
		}
	}
	if lost > 4*pieceMax {
		t.Errorf("%d bytes of pieces have changed", lost)
	}
}

func TestEmitsError(t *testing.T) {
	c := NewCutter(func(p []byte) ([]byte, error) { return p, io.ErrShortWrite })
	_, err := c.Write(newTar().many("a/", 1000, 1000).close())
	if err != io.ErrShortWrite {
		t.Errorf("the error is %v", err)
	}
}

func FuzzCutter(f *testing.F) {
	for _, layer := range layers() {
		if len(layer) < 100_000 {
			f.Add(layer, 1000)
		}
	}
	f.Fuzz(func(t *testing.T, layer []byte, n int) {
		got := pieces(t, layer, 1+n&0xffff)
		if !bytes.Equal(slices.Concat(got...), layer) {
			t.Fatal("the pieces are not the layer")
		}
		if again := pieces(t, layer, len(layer)+1); !slices.EqualFunc(got, again, bytes.Equal) {
			t.Fatal("the cuts depend on how the layer is written")
		}
	})
}

func BenchmarkCutter(b *testing.B) {
	for name, layer := range layers() {
		if len(layer) < 3<<20 {
			continue
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(layer)))
			for b.Loop() {
				c := NewCutter(func(p []byte) ([]byte, error) { return p, nil })
				c.Write(layer)
				c.Close()
			}
		})
	}
}

// pieces cuts a layer that is written n bytes at a time.
func pieces(t testing.TB, layer []byte, n int) [][]byte {
	t.Helper()
	var out [][]byte
	c := NewCutter(func(p []byte) ([]byte, error) {
		if len(p) > MaxPiece {
			t.Fatalf("a piece of %d bytes", len(p))
		}
		out = append(out, p)
		return nil, nil
	})
	for p := range slices.Chunk(layer, n) {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func set(pieces [][]byte) map[[32]byte]bool {
	m := map[[32]byte]bool{}
	for _, p := range pieces {
		m[sha256.Sum256(p)] = true
	}
	return m
}

func random(seed string, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b)
	return b
}

// claims returns a tar with one entry, whose header claims a size.
func claims(size int64) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "huge", Size: size, Format: tar.FormatGNU}); err != nil {
		panic(err)
	}
	w.Flush()
	return append(b.Bytes(), random("rest", 100_000)...)
}

// tarball writes a tar into memory, where nothing can fail.
type tarball struct {
	b       bytes.Buffer
	w       *tar.Writer
	as      tar.Format
	time    time.Time
	records map[string]string
}

func newTar() *tarball {
	t := &tarball{}
	t.w = tar.NewWriter(&t.b)
	return t
}

func (t *tarball) format(f tar.Format) *tarball { t.as = f; return t }
func (t *tarball) at(mtime time.Time) *tarball  { t.time = mtime; return t }

func (t *tarball) record(key string, n int) *tarball {
	t.records = map[string]string{key: strings.Repeat("x", n)}
	t.as = tar.FormatPAX
	return t
}

func (t *tarball) file(name string, content []byte) *tarball {
	return t.entry(tar.Header{Name: name, Size: int64(len(content)), Typeflag: tar.TypeReg}, content)
}

func (t *tarball) dir(name string) *tarball {
	return t.entry(tar.Header{Name: name, Typeflag: tar.TypeDir}, nil)
}

func (t *tarball) link(name, target string) *tarball {
	return t.entry(tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}, nil)
}

func (t *tarball) many(dir string, n, size int) *tarball {
	for i := range n {
		name := fmt.Sprintf("%sfile-%05d", dir, i)
		t.file(name, random(name, i*7919%(2*size)))
	}
	return t
}

func (t *tarball) same(name string, n int) *tarball {
	for range n {
		t.file(name, nil)
	}
	return t
}

func (t *tarball) entry(h tar.Header, content []byte) *tarball {
	h.Format, h.ModTime, h.PAXRecords = t.as, t.time, t.records
	if err := t.w.WriteHeader(&h); err != nil {
		panic(err)
	}
	if _, err := t.w.Write(content); err != nil {
		panic(err)
	}
	return t
}

func (t *tarball) close() []byte {
	if err := t.w.Close(); err != nil {
		panic(err)
	}
	return t.b.Bytes()
}
