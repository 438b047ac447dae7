package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An Import brings one root into the store. Nothing of it can be seen before
// Commit, and afterwards it is on disk to stay. It is for one goroutine.
type Import struct {
	store *Store
	tmp   string
	dirs  map[string]struct{} // to sync: something was put into them
	made  []string            // directories of the store that were not there
	temps int
}

// Begin starts an import. Close must be called in the end.
func (s *Store) Begin() (*Import, error) {
	im := &Import{store: s, dirs: map[string]struct{}{}}
	var err error
	for range 10 { // another import may take away the empty store that we find
		im.tmp, err = im.makeTemp()
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return im, nil
}

func (im *Import) makeTemp() (string, error) {
	if err := os.MkdirAll(filepath.Dir(im.store.dir), 0o755); err != nil {
		return "", err
	}
	tmp := filepath.Join(im.store.dir, "tmp")
	for _, dir := range []string{im.store.dir, tmp} {
		if err := im.mkdir(dir); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(tmp, "import-")
}

// TempDir is where to write blobs before they are handed to Blob.
func (im *Import) TempDir() string { return im.tmp }

// Blob takes over the file at path in TempDir: the blob with the given digest,
// whose DAG is f.
func (im *Import) Blob(path string, d digest.Digest, f *unixfs.File) error {
	final := im.store.blobPath(d)
	if info, err := os.Stat(final); err == nil && info.Size() == f.Table.Size() {
		if err := os.Remove(path); err != nil {
			return err
		}
		if err := im.mkdirs(filepath.Dir(final)); err != nil {
			return err
		}
	} else if err := im.adopt(path, final); err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	for _, nd := range f.Nodes {
		if err := im.Node(nd); err != nil {
			return err
		}
	}
	record, err := f.Table.AppendBinary([]byte(d + "\n"))
	if err != nil {
		return err
	}
	return im.write(im.store.filePath(f.CID), record)
}

// Node stores a directory, a node of a file, or a small file that is one block.
func (im *Import) Node(b unixfs.Block) error {
	return im.write(im.store.nodePath(b.CID), b.Data)
}

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

// Commit makes the root durable. When it returns nil, the image is on disk.
func (im *Import) Commit(root cid.Cid, r Record) error {
	if err := im.sync(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := im.write(im.store.imagePath(root), append(b, '\n')); err != nil {
		return err
	}
	return im.sync()
}

// Close removes what is temporary, and of the directories that the import made
// those that stayed empty.
func (im *Import) Close() error {
	err := os.RemoveAll(im.tmp)
	for _, dir := range slices.Backward(im.made) {
		os.Remove(dir) // which fails where there is something in it
	}
	return err
}

// write stores data under its final name. What is there already is written
// anew, which mends it if it rotted.
func (im *Import) write(final string, data []byte) error {
	im.temps++
	path := filepath.Join(im.tmp, fmt.Sprintf("record-%d", im.temps))
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	return im.adopt(path, final)
}

// adopt syncs a temporary file and renames it.
func (im *Import) adopt(path, final string) error {
	if err := os.Chmod(path, 0o644); err != nil {
		return err
	}
	if err := syncPath(path); err != nil {
		return err
	}
	var err error
	for range 2 { // another import, giving up, may take away an empty directory
		if err = im.mkdirs(filepath.Dir(final)); err != nil {
			return err
		}
		if err = os.Rename(path, final); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// mkdirs makes a directory below the store's, and notes that it and those above
// it are to be synced, also where another process made them just now.
func (im *Import) mkdirs(dir string) error {
	im.dirs[dir] = struct{}{}
	if dir == im.store.dir {
		im.dirs[filepath.Dir(dir)] = struct{}{}
		return nil
	}
	if err := im.mkdirs(filepath.Dir(dir)); err != nil {
		return err
	}
	return im.mkdir(dir)
}

// mkdir makes a directory that everybody may read, whatever the umask says.
func (im *Import) mkdir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		im.made = append(im.made, dir)
		return os.Chmod(dir, 0o755)
	}
	if info, other := os.Stat(dir); other == nil && info.IsDir() {
		return nil
	}
	return err
}

func (im *Import) sync() error {
	for dir := range im.dirs {
		if err := syncPath(dir); err != nil {
			return err
		}
	}
	clear(im.dirs)
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
