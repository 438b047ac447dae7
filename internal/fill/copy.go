package fill

import (
	"context"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A localLeaf is a leaf that another blob of the store may have.
type localLeaf struct {
	leaf   int
	blob   digest.Digest
	size   int64 // of the blob, in bytes
	offset int64 // in the blob
}

// findLocal returns the leaves of a table that the store has, as far as its index knows.
func findLocal(x *store.LeafIndex, t *unixfs.Table) []localLeaf {
	var local []localLeaf
	for i := range t.Leaves {
		l := localLeaf{leaf: i}
		var ok bool
		if l.blob, l.size, l.offset, ok = x.Find(t.Leaves[i].Digest); ok {
			local = append(local, l)
		}
	}
	return local
}

// maxRun is about how many bytes are copied at once.
const maxRun = 1 << 20

// firstRun returns the leaves at the beginning of local that follow one another in both
// blobs.
func firstRun(t *unixfs.Table, local []localLeaf) []localLeaf {
	n, bytes := 1, t.Len(local[0].leaf)
	for ; n < len(local) && bytes < maxRun; n++ {
		last, next := local[n-1], local[n]
		if next.leaf != last.leaf+1 || next.blob != last.blob || next.offset != last.offset+int64(t.Len(last.leaf)) {
			break
		}
		bytes += t.Len(next.leaf)
	}
	return local[:n]
}

// A copier copies leaves from blobs of the store into the file of another blob. It has
// one of these blobs open at a time.
type copier struct {
	store *store.Store
	table *unixfs.Table
	to    *store.Partial
	file  *os.File // of to
	from  *os.File // nil if blob cannot be read
	blob  digest.Digest
	buf   []byte
}

// copy copies a run of leaves, and returns 0 if the other blob does not have them. Its
// error is one of writing.
func (c *copier) copy(run []localLeaf) (n int, err error) {
	if !c.openBlob(run[0]) {
		return 0, nil
	}
	i, last := run[0].leaf, run[len(run)-1].leaf
	at := c.table.Start(i)
	n = int(c.table.Leaves[last].End - at)
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	b := c.buf[:n]
	if _, err := c.from.ReadAt(b, run[0].offset); err != nil {
		return 0, nil
	}
	for ; i <= last; i++ {
		if !c.table.Verify(i, b[c.table.Start(i)-at:][:c.table.Len(i)]) {
			return 0, nil
		}
	}
	return n, c.write(b, run[0].offset, at)
}

// write writes b, which was read and verified at an offset of the other blob. If
// possible, the file system copies it, and may share the bytes between the files.
func (c *copier) write(b []byte, from, to int64) error {
	if err := c.to.Grow(int64(len(b))); err != nil {
		return err
	}
	if c.share(int64(len(b)), from, to) {
		return nil
	}
	_, err := c.file.WriteAt(b, to)
	return err
}

func (c *copier) share(n, from, to int64) bool {
	_, err := c.from.Seek(from, io.SeekStart)
	if err == nil {
		_, err = c.file.Seek(to, io.SeekStart)
	}
	if err == nil {
		_, err = io.CopyN(c.file, c.from, n)
	}
	return err == nil
}

func (c *copier) openBlob(l localLeaf) bool {
	if c.blob != l.blob {
		if c.from != nil {
			c.from.Close()
		}
		c.blob = l.blob
		c.from, _ = c.store.OpenBlob(l.blob, l.size) // nil if it was removed
	}
	return c.from != nil
}

// copyAll copies runs of leaves until ctx is done, and calls ended after each of them
// with the number of bytes that were copied. Its error is one of writing.
func (c *copier) copyAll(ctx context.Context, local []localLeaf, ended func(run []localLeaf, n int)) (err error) {
	if c.file, err = os.OpenFile(c.to.Path(), os.O_WRONLY, 0); err != nil {
		return err
	}
	defer c.file.Close()
	defer func() { c.from.Close() }() // which a nil file refuses
	for len(local) > 0 && ctx.Err() == nil {
		run := firstRun(c.table, local)
		local = local[len(run):]
		n, err := c.copy(run)
		if err != nil {
			return err
		}
		ended(run, n)
	}
	return nil
}
