package images

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// A storeSource is a store on disk. It may lack parts of an image: what was cached
// goes bit by bit.
type storeSource struct{ store *store.Store }

// ReadFile implements layout.Tree.
func (s storeSource) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	data, err := s.store.ReadFile(ctx, root, path, limit)
	return data, lacking(err)
}

// ReadDir implements layout.Tree.
func (s storeSource) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	entries, err := s.store.ReadDir(ctx, root, path)
	return entries, lacking(err)
}

// Trail implements Source.
func (s storeSource) Trail(ctx context.Context, root cid.Cid, path string) ([]cid.Cid, error) {
	trail, err := s.store.Trail(ctx, root, path)
	return trail, lacking(err)
}

// Blob implements Source. The file under a digest's name need not have that digest,
// since anyone can publish directories. The store knows the file's real digest.
func (s storeSource) Blob(ctx context.Context, at layout.Place, d digest.Digest) (Blob, error) {
	f, err := s.store.Open(ctx, at.Root, at.Path)
	if err != nil {
		return nil, lacking(err)
	}
	right, err := f.HasDigest(ctx, d)
	if err == nil && !right {
		err = fmt.Errorf("blob %s: %w, which is %s", d, layout.ErrDigest, f.Digest)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return storedBlob{f}, nil
}

// lacking tells what this store does not have from what a directory in it proves to
// be absent.
func lacking(err error) error {
	if errors.Is(err, store.ErrLacking) {
		return fmt.Errorf("%w: %w", layout.ErrLacking, err)
	}
	return err
}

// StoredBlob returns the blob that an open file of a store is. Closing it closes the file.
func StoredBlob(f *store.File) Blob { return storedBlob{f} }

// A storedBlob is a file of a store.
type storedBlob struct{ *store.File }

// Size implements Blob.
func (b storedBlob) Size(context.Context) (int64, error) { return b.File.Size, nil }

// Copy implements Blob. A sink that is an io.ReaderFrom is given the file itself
// if the part ends with the file, so that it can be sent by sendfile(2). A limit around
// the file would hide it from package net, and Caddy adds one itself.
func (b storedBlob) Copy(_ context.Context, part *Range, sink Sink) error {
	from, to := int64(0), b.File.Size
	if part != nil {
		if from, to = part.Resolve(b.File.Size); from >= to {
			return gateway.RangeError{Size: b.File.Size}
		}
	}
	if _, err := b.Seek(from, io.SeekStart); err != nil {
		return err
	}
	sink.Start(trustless.File{Size: b.File.Size}, from, to)
	var file io.Reader = b.File.File
	if to < b.File.Size {
		file = io.LimitReader(file, to-from)
	}
	n, err := copyFile(sink, file)
	if err == nil && n != to-from {
		err = fmt.Errorf("%s ends after %d bytes of %d: %w", b.Name(), from+n, b.File.Size, store.ErrDamaged)
	}
	return err
}

// copyFile gives the sink the file, if it takes files: io.Copy would hand it on as a
// reader only.
func copyFile(sink Sink, file io.Reader) (int64, error) {
	if files, ok := sink.(io.ReaderFrom); ok {
		return files.ReadFrom(file)
	}
	return io.Copy(sink, file)
}
