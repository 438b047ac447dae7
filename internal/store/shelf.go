package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

func (sh shelf) blobPath(d digest.Digest) string {
	return filepath.Join(sh.dir, string(blobs), d.Algorithm().String(), d.Encoded())
}

func (sh shelf) nodePath(c cid.Cid) string { return filepath.Join(sh.nodeDir(c), key(c)) }

func (sh shelf) nodeDir(c cid.Cid) string {
	return filepath.Join(sh.dir, string(nodes), shardOf(key(c)))
}

func shardOf(name string) string { return name[len(name)-3 : len(name)-1] }

func (sh shelf) filePath(c cid.Cid) string {
	return filepath.Join(sh.dir, string(files), key(c))
}

func (sh shelf) tmp() string { return filepath.Join(sh.dir, "tmp") }

// key returns the name of a CID, which is the same for CIDv0 and CIDv1.
func key(c cid.Cid) string { return cid.NewCidV1(c.Type(), c.Hash()).String() }

// parseKey reads the name of a file as key writes it.
func parseKey(name string) (cid.Cid, bool) {
	c, err := cid.Decode(name)
	return c, err == nil && key(c) == name
}

// A folder is a directory of a shelf.
type folder string

const (
	blobs folder = "blobs" // in it, a directory for each algorithm
	nodes folder = "nodes" // in it, a directory for each shard
	files folder = "files"
	temps folder = "tmp"
)

// An item is a file of a shelf.
type item struct {
	folder folder
	path   string
	info   fs.FileInfo
}

// blob returns the digest of a blob by its name.
func (it item) blob() (digest.Digest, bool) {
	d := digest.NewDigestFromEncoded(digest.Algorithm(filepath.Base(filepath.Dir(it.path))), filepath.Base(it.path))
	return d, it.folder == blobs && d.Validate() == nil
}

// cid returns the CID of a node or file by its name.
func (it item) cid() (cid.Cid, bool) {
	c, ok := parseKey(filepath.Base(it.path))
	if it.folder == nodes && ok {
		ok = shardOf(filepath.Base(it.path)) == filepath.Base(filepath.Dir(it.path))
	}
	return c, ok && it.folder != blobs
}

// each calls visit for the files of some folders, in that order. It lists a few files
// at a time, since there may be millions, and leaves out files that are removed
// meanwhile. It stops at the first error of visit or of reading a directory.
func (sh shelf) each(ctx context.Context, visit func(item) error, folders ...folder) error {
	for _, f := range folders {
		dirs := []string{filepath.Join(sh.dir, string(f))}
		if f == blobs || f == nodes {
			entries, err := sh.readDir(dirs[0])
			if err != nil {
				return err
			}
			dirs = dirs[:0]
			for _, e := range entries {
				if e.IsDir() {
					dirs = append(dirs, filepath.Join(sh.dir, string(f), e.Name()))
				}
			}
		}
		for _, dir := range dirs {
			if err := sh.eachIn(ctx, f, dir, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (sh shelf) eachIn(ctx context.Context, f folder, dir string, visit func(item) error) error {
	d, err := sh.open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(256)
		for _, e := range entries {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			info, gone := e.Info()
			if gone != nil || !info.Mode().IsRegular() {
				continue
			}
			if err := visit(item{f, filepath.Join(dir, e.Name()), info}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readNode returns a node without verifying it.
func (sh shelf) readNode(c cid.Cid) ([]byte, error) {
	data, err := sh.readFile(sh.nodePath(c), unixfs.MaxBlock)
	return data, lacking(err)
}

// readVerified returns a node that was not synced. It removes a damaged one.
func (sh shelf) readVerified(c cid.Cid) ([]byte, error) {
	path := sh.nodePath(c)
	data, err := sh.readFile(path, unixfs.MaxBlock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lacking(err)
	}
	if err != nil || (unixfs.Block{CID: c, Data: data}).Verify() != nil {
		_ = sh.remove(path) // or it is found damaged again
		return nil, fmt.Errorf("removed %s, which was %w: %w", path, ErrDamaged, ErrLacking)
	}
	sh.touch(path)
	return data, nil
}

// maxFileRecord is how many bytes the record of a file may have. It has room for seven
// million leaves.
const maxFileRecord = 256 << 20

// file reads the record of a file, which is a line with the digest of its blob,
// followed by its leaf table.
func (sh shelf) file(c cid.Cid) (digest.Digest, *unixfs.Table, error) {
	path := sh.filePath(c)
	record, err := sh.readFile(path, maxFileRecord)
	if err != nil {
		return "", nil, lacking(err)
	}
	line, leaves, _ := strings.Cut(string(record), "\n")
	d, err := digest.Parse(line)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	t := new(unixfs.Table)
	if err := t.UnmarshalBinary([]byte(leaves)); err != nil {
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, t, nil
}

// blobOf returns the digest and the size of the blob that is the file c. It reads the
// record bit by bit, since leaf tables may be large and many clients may open blobs at
// the same time.
func (sh shelf) blobOf(c cid.Cid) (d digest.Digest, size int64, err error) {
	path := sh.filePath(c)
	f, err := sh.open(path)
	if err != nil {
		return "", 0, lacking(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", 0, errors.Join(fmt.Errorf("%s is not a file: %w", path, ErrDamaged), err)
	}
	r := bufio.NewReaderSize(io.LimitReader(f, maxFileRecord), 16<<10)
	line, err := r.ReadSlice('\n')
	if err == nil {
		d, err = digest.Parse(string(bytes.TrimSuffix(line, []byte("\n"))))
	}
	if err == nil {
		size, err = unixfs.ReadTableSize(r)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", path, err)
	}
	return d, size, nil
}

// encodeFile returns the record of a file.
func encodeFile(d digest.Digest, t *unixfs.Table) ([]byte, error) {
	record, err := t.AppendBinary([]byte(d + "\n"))
	if err == nil && len(record) > maxFileRecord {
		err = fmt.Errorf("%d leaves, more than a blob can have", len(t.Leaves))
	}
	return record, err
}

// usedWithin is the precision with which the time of a file's last use is known.
const usedWithin = time.Minute

// neverUsed is the time of a prefetched blob that no reader has opened, so that it is
// evicted first.
var neverUsed = time.Unix(0, 0)

// touch notes that a cached file is used. It does nothing if this process may not
// write to the cache.
func (sh shelf) touch(path string) {
	if info, err := sh.lstat(path); err == nil {
		sh.touchIfOld(path, info)
	}
}

func (sh shelf) touchIfOld(path string, info fs.FileInfo) {
	now := time.Now()
	if age := now.Sub(info.ModTime()); age > usedWithin || age < 0 { // or a clock was wrong
		_ = sh.setTime(path, now)
	}
}
