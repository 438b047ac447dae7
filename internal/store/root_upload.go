package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// An UploadInfo says for what an upload is.
type UploadInfo struct {
	Name string `json:"name"` // of the repository
	User string `json:"user,omitempty"`
}

// An Upload is an open upload: a blob that comes bit by bit. It is a directory of root/pending:
//
//	upload-<id>/about   an UploadInfo
//	upload-<id>/data    the bytes, as far as they have come
//	upload-<id>/lock    held by the process that adds bytes
type Upload struct {
	*os.File // at its end, for reading and writing
	Info     UploadInfo
	Size     int64 // bytes, when it was opened

	root *Root
	temp temp
}

const uploadID = 16 // bytes

// upload returns the directory of an upload.
func (r *Root) upload(id string) string { return r.path("pending", uploadPrefix+id) }

// isUploadID reports whether an upload may have the ID: it becomes part of a path.
func isUploadID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == uploadID && hex.EncodeToString(b) == id
}

// uploads returns the IDs of all uploads.
func (r *Root) uploads() ([]string, error) {
	entries, err := r.store.readDir(r.path("pending"))
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutPrefix(e.Name(), uploadPrefix); ok && isUploadID(id) {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// BeginUpload makes an upload, and returns its ID, which nobody can guess. It returns false
// if there are so many uploads already.
func (r *Root) BeginUpload(info UploadInfo, most int) (id string, ok bool, err error) {
	if err := r.checkOwner(); err != nil {
		return "", false, err
	}
	there, err := r.uploads()
	if err != nil || len(there) >= most {
		return "", false, err
	}
	about, err := json.Marshal(info)
	if err != nil {
		return "", false, err
	}
	random := make([]byte, uploadID)
	rand.Read(random) // never fails
	id = hex.EncodeToString(random)
	dir := r.upload(id)
	if err := r.store.mkdirAll(dir); err != nil {
		return "", false, err
	}
	for name, content := range map[string][]byte{"data": nil, "about": about} {
		if err := r.store.create(filepath.Join(dir, name), content); err != nil {
			return "", false, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return id, true, nil
}

// UploadSize returns for what an upload is, and how many bytes it has. The error is ErrLacking
// if there is no such upload.
func (r *Root) UploadSize(id string) (info UploadInfo, size int64, err error) {
	if !isUploadID(id) {
		return info, 0, fmt.Errorf("upload %.100q: %w", id, ErrLacking)
	}
	dir := r.upload(id)
	about, err := r.store.readFile(filepath.Join(dir, "about"), maxSetting)
	if err != nil {
		return info, 0, lacking(err)
	}
	if err := json.Unmarshal(about, &info); err != nil {
		return info, 0, fmt.Errorf("%s is %w: %w", filepath.Join(dir, "about"), ErrDamaged, err)
	}
	data, err := r.store.lstat(filepath.Join(dir, "data"))
	if err != nil {
		return info, 0, lacking(err)
	}
	return info, data.Size(), nil
}

// OpenUpload opens an upload. The caller closes or removes it. The error is ErrLacking if there
// is no such upload, and ErrBusy if it is open already, in any process.
func (r *Root) OpenUpload(id string) (*Upload, error) {
	info, _, err := r.UploadSize(id)
	if err != nil {
		return nil, err
	}
	dir := r.upload(id)
	lock, err := try(filepath.Join(dir, "lock"), exclusive)
	if err != nil {
		return nil, lacking(err)
	}
	if lock == nil {
		return nil, fmt.Errorf("upload %s: %w", id, ErrBusy)
	}
	u := &Upload{Info: info, root: r, temp: temp{dir, lock}}
	err = r.store.within(u.Path(), func(root *os.Root, name string) (err error) {
		if u.File, err = root.OpenFile(name, os.O_RDWR, 0); err != nil {
			return err
		}
		u.Size, err = u.Seek(0, io.SeekEnd)
		return err
	})
	if err != nil {
		return nil, errors.Join(lacking(err), u.Close())
	}
	return u, nil
}

// Path returns the path of the bytes, for Import.Blob.
func (u *Upload) Path() string { return filepath.Join(u.temp.path, "data") }

// Close ends the work on the upload, which others may open then.
func (u *Upload) Close() error {
	var err error
	if u.File != nil {
		err = u.File.Close()
	}
	release(u.temp.lock)
	return err
}

// Remove removes the upload, and closes it.
func (u *Upload) Remove() error {
	u.File.Close()
	return u.temp.remove()
}

// removeStaleUploads removes the uploads that got no byte for a day.
func (r *Root) removeStaleUploads(ctx context.Context) error {
	there, err := r.uploads()
	if err != nil {
		return err
	}
	for _, id := range there {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		dir := r.upload(id)
		info, err := r.store.lstat(filepath.Join(dir, "data"))
		if errors.Is(err, fs.ErrNotExist) {
			info, err = r.store.lstat(dir) // it is half made or half removed
		}
		if err != nil || !r.isStale(info) {
			continue
		}
		if lock, err := try(filepath.Join(dir, "lock"), exclusive); err == nil && lock != nil {
			if err := (&temp{dir, lock}).remove(); err != nil {
				return err
			}
		}
	}
	return nil
}
