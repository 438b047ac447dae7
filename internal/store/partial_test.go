package store

import (
	"bytes"
	"io"
	"testing"
)

// The bytes of a file that an earlier fill left, holes included, take as much room when it is
// left as is given back when it is resumed.
func TestResumedFileTakesItsRoomOnce(t *testing.T) {
	const size = 1 << 20
	c := Open(t.TempDir()).NewCache(CacheConfig{MaxSize: 4 * size})
	id := kindOf(t, "sparse")
	for range 3 {
		p := must(c.BeginBlob(id, size))(t)
		_, err := p.WriteAt(make([]byte, 4096), size-4096)
		check(t, err)
		p.Stay()
		check(t, p.Close())
		if n := c.Size(); n != size {
			t.Errorf("a file of %d bytes takes %d", size, n)
		}
	}
	p := must(c.BeginBlob(id, size))(t)
	check(t, p.Close())
	if n := c.Size(); n != 0 {
		t.Errorf("%d bytes are taken after the file was removed", n)
	}
}

// A file that cannot be resumed stays as it is for those who have it open: they may have
// verified its leaves.
func TestFileThatCannotBeResumedStaysForItsReaders(t *testing.T) {
	c := Open(t.TempDir()).NewCache(CacheConfig{MaxSize: 1 << 20})
	id, content := kindOf(t, "left"), bytes.Repeat([]byte("x"), 4096)
	p := must(c.BeginBlob(id, int64(len(content))))(t)
	_, err := p.WriteAt(content, 0)
	check(t, err)
	p.Stay()
	check(t, p.Close())
	f := must(c.Follow(id))(t)
	defer f.Close()
	p = must(c.BeginBlob(id, 100))(t) // so that there are too many bytes
	defer p.Close()
	if n := p.Resumed(); n != 0 {
		t.Errorf("%d bytes were resumed", n)
	}
	if got := must(io.ReadAll(f))(t); !bytes.Equal(got, content) {
		t.Errorf("a reader of the old file finds %d bytes in it", len(got))
	}
}
