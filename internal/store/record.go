package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/atomicfile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// A Record lists the images below a root. It is what keeps them: Collect removes
// everything to which no record leads.
type Record struct {
	Root    string          `json:"root"` // as it is written in image names
	Images  []layout.Tagged `json:"images"`
	Created time.Time       `json:"created"`
}

// maxRecord is how many bytes a record may have: enough for tens of thousands of
// images.
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

func (s *Store) imagePath(root cid.Cid) string {
	return filepath.Join(s.images(), key(root)+".json")
}

func (s *Store) images() string { return filepath.Join(s.dir, "images") }

// Record returns the record of a root. The error is ErrLacking if it has none.
func (s *Store) Record(root cid.Cid) (Record, error) {
	path := s.imagePath(root)
	b, err := s.readFile(path, maxRecord)
	if err != nil {
		return Record{}, lacking(err)
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("%s is %w: %w", path, ErrDamaged, err)
	}
	if c, err := cidname.ParseAny(r.Root); err != nil || !bytes.Equal(c.Hash(), root.Hash()) {
		return Record{}, fmt.Errorf("%s is %w: it is a record of the root %q", path, ErrDamaged, r.Root)
	}
	return r, nil
}

// Images returns the records of all roots, the newest first. If some records cannot be
// read, it returns the others and an error.
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
		case !errors.Is(err, fs.ErrNotExist): // another process is removing it
			damaged = append(damaged, err)
		}
	}
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.Root, b.Root))
	})
	return records, errors.Join(damaged...)
}

// roots lists the roots that have a record, damaged or not.
func (s *Store) roots() ([]cid.Cid, error) {
	entries, err := s.readDir(s.images())
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

// Remove removes the record of a root. The next Collect removes the files to which no
// other root leads. The error is ErrLacking if the root has no record.
func (s *Store) Remove(ctx context.Context, root cid.Cid) error {
	path := s.imagePath(root)
	if _, err := s.lstat(path); err != nil {
		return lacking(err)
	}
	if err := s.checkOwner(); err != nil {
		return err
	}
	lock, err := s.lock(ctx, exclusive)
	if err != nil {
		return fmt.Errorf("locking the store: %w", err)
	}
	defer release(lock)
	if err := s.remove(path); err != nil {
		return err
	}
	return atomicfile.SyncDir(s.images())
}
