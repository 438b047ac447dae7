package fill

import (
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A localLeaf is a leaf that another blob of the store may have.
type localLeaf struct {
	leaf   int
	blob   digest.Digest
	size   int64 // of the blob
	offset int64 // in the blob
}

// nearby returns the leaves of a table that the store has, as far as is known.
func (f *Filler) nearby(t *unixfs.Table) []localLeaf {
	var local []localLeaf
	for i := range t.Leaves {
		l := localLeaf{leaf: i}
		var ok bool
		if l.blob, l.size, l.offset, ok = f.leaves.Find(t.Leaves[i].Digest); ok {
			local = append(local, l)
		}
	}
	return local
}

// maxRun is how many bytes are copied at once.
const maxRun = 1 << 20

// copyNearby copies the leaves that other blobs have. Those that turn out to be
// something else, or gone, are fetched.
func (fl *fill) copyNearby() {
	c := &copier{fill: fl, table: fl.table}
	defer c.close()
	var err error
	if c.to, err = os.OpenFile(fl.partial.Path(), os.O_WRONLY, 0); err != nil {
		fl.stop(err)
		return
	}
	for rest := fl.local; len(rest) > 0 && fl.ctx.Err() == nil; {
		run := fl.firstRun(rest)
		rest = rest[len(run):]
		came, err := c.copy(run)
		if err != nil {
			return
		}
		fl.settleLocal(run, came)
	}
}

// firstRun returns the first leaves that follow one another in both blobs.
func (fl *fill) firstRun(local []localLeaf) []localLeaf {
	n, bytes := 1, fl.table.Len(local[0].leaf)
	for ; n < len(local) && bytes < maxRun; n++ {
		last, next := local[n-1], local[n]
		if next.leaf != last.leaf+1 || next.blob != last.blob || next.offset != last.offset+int64(fl.table.Len(last.leaf)) {
			break
		}
		bytes += fl.table.Len(next.leaf)
	}
	return local[:n]
}

func (fl *fill) settleLocal(run []localLeaf, came bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for _, l := range run {
		switch {
		case fl.leaves[l.leaf] == there: // by a stream
		case came:
			fl.leaves[l.leaf] = there
		default:
			fl.leaves[l.leaf] = missing
		}
	}
	if !came {
		fl.dispatch()
	}
	fl.broadcast()
}

// A copier copies leaves from blobs, one of which is open.
type copier struct {
	fill  *fill
	table *unixfs.Table
	from  *os.File // nil where blob cannot be read
	blob  digest.Digest
	to    *os.File
	buf   []byte
}

// copy reports whether the leaves of a run are there now. An error is about where
// they are written.
func (c *copier) copy(run []localLeaf) (came bool, err error) {
	if !c.openBlob(run[0]) {
		return false, nil
	}
	first, last := run[0].leaf, run[len(run)-1].leaf
	at := c.table.Start(first)
	n := int(c.table.Leaves[last].End - at)
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	b := c.buf[:n]
	if _, err := c.from.ReadAt(b, run[0].offset); err != nil {
		return false, nil
	}
	for i := first; i <= last; i++ {
		leaf := b[c.table.Start(i)-at:][:c.table.Len(i)]
		if !c.table.Verify(i, leaf) {
			return false, nil
		}
	}
	c.fill.copied.Add(int64(n))
	return true, c.write(b, run[0].offset, at)
}

// write has the file system copy what was read and verified, which may share it
// between the files, or else writes it.
func (c *copier) write(b []byte, from, to int64) error {
	if err := c.fill.partial.Grow(int64(len(b))); err != nil {
		c.fill.stop(err)
		return err
	}
	if c.share(int64(len(b)), from, to) {
		return nil
	}
	return c.fill.write(b, to)
}

func (c *copier) share(n, from, to int64) bool {
	_, err := c.from.Seek(from, io.SeekStart)
	if err == nil {
		_, err = c.to.Seek(to, io.SeekStart)
	}
	if err == nil {
		_, err = io.CopyN(c.to, c.from, n)
	}
	return err == nil
}

func (c *copier) openBlob(l localLeaf) bool {
	if c.blob != l.blob {
		if c.from != nil {
			c.from.Close()
		}
		c.blob = l.blob
		c.from, _ = c.fill.filler.cache.Store().OpenBlob(l.blob, l.size) // nil where it is gone
	}
	return c.from != nil
}

func (c *copier) close() {
	for _, f := range []*os.File{c.from, c.to} {
		if f != nil {
			f.Close()
		}
	}
}
