package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Files with leaves of every size are read back, and a file with one changed byte is
// refused. A file may have no leaves at all.
func TestVerify(t *testing.T) {
	for _, sizes := range [][]int{
		{},
		{0},
		{1},
		{0, 1},
		{1, 0},
		{1, 0, 1},
		{0, 0, 0},
		{batchSize},
		{batchSize, 0},
		{batchSize - 1, 1, 1},
		{unixfs.MaxLeaf, 5, unixfs.MaxLeaf},
		{100_000, 100_000, 100_000, 0, 100_000},
	} {
		f, content := file(sizes)
		got, err := io.ReadAll(verify(body(content), f, "a test"))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%v: %d bytes, %v", sizes, len(got), err)
		}
		if _, err := io.ReadAll(verify(body(append(bytes.Clone(content), 1)), f, "a test")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v, and a byte more: %v", sizes, err)
		}
		for _, at := range []int{0, len(content) / 2, len(content) - 1} {
			if len(content) == 0 {
				continue
			}
			damaged := bytes.Clone(content)
			damaged[at] ^= 1
			got, err := io.ReadAll(verify(body(damaged), f, "a test"))
			if !errors.Is(err, ErrCorrupt) || !bytes.HasPrefix(content, got) {
				t.Errorf("%v, byte %d changed: %d bytes, %v", sizes, at, len(got), err)
			}
			if _, err := io.ReadAll(verify(body(content[:at]), f, "a test")); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v, cut off at %d: %v", sizes, at, err)
			}
		}
	}
}

// Closing a reader before the end of the file does not block.
func TestVerifyIsClosed(t *testing.T) {
	f, content := file([]int{unixfs.MaxLeaf, unixfs.MaxLeaf, unixfs.MaxLeaf, unixfs.MaxLeaf, unixfs.MaxLeaf, unixfs.MaxLeaf, unixfs.MaxLeaf})
	r := verify(body(content), f, "a test")
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func file(sizes []int) (*unixfs.File, []byte) {
	table := unixfs.V1.NewTable()
	var content []byte
	for i, n := range sizes {
		leaf := bytes.Repeat(fmt.Append(nil, i), n)[:n]
		table.Add(leaf)
		content = append(content, leaf...)
	}
	return &unixfs.File{Table: table}, content
}

func body(content []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(content)) }
