package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A shelf is a directory of blobs, of nodes, and of which blob a file is.
type shelf struct{ dir string }

// readNode returns a node as it is on disk.
func (sh shelf) readNode(c cid.Cid) ([]byte, error) {
	data, err := readFile(sh.nodePath(c), unixfs.MaxBlock)
	return data, lacking(err)
}

// maxTable is the most bytes of a leaf table on disk: a blob of half a terabyte
// in leaves of 64 KiB.
const maxTable = 256 << 20

// file reads which blob a file's CID is, and the leaves of which its DAG is
// made: a line with the digest, then the table.
func (sh shelf) file(c cid.Cid) (digest.Digest, *unixfs.Table, error) {
	path := sh.filePath(c)
	record, err := readFile(path, maxTable)
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

// encodeFile is what file reads.
func encodeFile(d digest.Digest, t *unixfs.Table) ([]byte, error) {
	record, err := t.AppendBinary([]byte(d + "\n"))
	if err == nil && len(record) > maxTable {
		err = fmt.Errorf("%d leaves, more than a blob can have", len(t.Leaves))
	}
	return record, err
}

func (sh shelf) blobPath(d digest.Digest) string {
	return filepath.Join(sh.dir, "blobs", d.Algorithm().String(), d.Encoded())
}

func (sh shelf) nodePath(c cid.Cid) string {
	name := key(c)
	return filepath.Join(sh.dir, "nodes", shardOf(name), name)
}

func shardOf(name string) string { return name[len(name)-3 : len(name)-1] }

func (sh shelf) filePath(c cid.Cid) string {
	return filepath.Join(sh.dir, "files", key(c))
}

func (sh shelf) tmp() string { return filepath.Join(sh.dir, "tmp") }

// readVerified reads a node that nobody synced. One that is damaged goes.
func (sh shelf) readVerified(c cid.Cid) ([]byte, error) {
	path := sh.nodePath(c)
	data, err := readFile(path, unixfs.MaxBlock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, lacking(err)
	}
	if err != nil || (unixfs.Block{CID: c, Data: data}).Verify() != nil {
		os.Remove(path)
		return nil, fmt.Errorf("removed %s, which was %w: %w", path, ErrDamaged, ErrLacking)
	}
	touch(path)
	return data, nil
}
