package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A Record says what a root holds, for people and for eviction.
type Record struct {
	Root    string    `json:"root"` // as image names spell it
	Images  []Image   `json:"images"`
	Created time.Time `json:"created"`
}

// An Image is one tag of a Record, or an untagged image.
type Image struct {
	Name      string        `json:"name,omitempty"`
	Tag       string        `json:"tag,omitempty"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
}

// maxRecord is the most bytes of a record: tens of thousands of images.
const maxRecord = 16 << 20

func (r Record) encode() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return nil, err
	}
	if len(b) >= maxRecord {
		return nil, fmt.Errorf("%d images, more than one root can have", len(r.Images))
	}
	return append(b, '\n'), nil
}

// Record returns what is known of a root. Where the store does not have it, the
// error is fs.ErrNotExist.
func (s *Store) Record(root cid.Cid) (Record, error) {
	path := s.imagePath(root)
	b, err := readFile(path, maxRecord)
	if err != nil {
		return Record{}, err
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("%s is %w: %w", path, ErrDamaged, err)
	}
	if c, err := cidname.ParseAny(r.Root); err != nil || !bytes.Equal(c.Hash(), root.Hash()) {
		return Record{}, fmt.Errorf("%s is %w: it is of the root %q", path, ErrDamaged, r.Root)
	}
	return r, nil
}

// Images returns what the store holds, the newest first. An error is about the
// records that cannot be read, and the others are returned with it.
func (s *Store) Images(ctx context.Context) ([]Record, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	var (
		records []Record
		damaged []error
	)
	for _, root := range roots {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r, err := s.Record(root)
		switch {
		case err == nil:
			records = append(records, r)
		case !errors.Is(err, fs.ErrNotExist): // it is being removed
			damaged = append(damaged, err)
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.Root, b.Root))
	})
	return records, errors.Join(damaged...)
}

// roots lists the roots that have a record, whole or damaged.
func (s *Store) roots() ([]cid.Cid, error) {
	entries, err := os.ReadDir(s.images())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var roots []cid.Cid
	for _, e := range entries {
		name, isRecord := strings.CutSuffix(e.Name(), ".json")
		if c, ok := parseKey(name); ok && isRecord {
			roots = append(roots, c)
		}
	}
	return roots, nil
}

// Size returns how many bytes everything at the slash-separated path below root
// has, as IPFS counts: what is there twice counts twice.
func (s *Store) Size(ctx context.Context, root cid.Cid, path string) (uint64, error) {
	c, err := unixfs.Walk(ctx, s.node, root, path)
	if err != nil {
		return 0, err
	}
	data, err := s.node(ctx, c)
	if err != nil {
		return 0, err
	}
	children, _, err := unixfs.Children(unixfs.Block{CID: c, Data: data})
	size := uint64(len(data))
	for _, child := range children {
		size += child.Size
	}
	return size, err
}

// Remove takes a root's record away. What the root alone holds goes with the
// next Collect. Where the store does not have it, the error is fs.ErrNotExist.
func (s *Store) Remove(ctx context.Context, root cid.Cid) error {
	path := s.imagePath(root)
	if _, err := os.Lstat(path); err != nil {
		return err
	}
	lock, err := s.lock(ctx, exclusive)
	if err != nil {
		return fmt.Errorf("locking the store: %w", err)
	}
	defer release(lock)
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(s.images())
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is %w: %d bytes are no file of the store's", path, ErrDamaged, info.Size())
	}
	b := make([]byte, info.Size())
	_, err = io.ReadFull(f, b)
	return b, err
}
