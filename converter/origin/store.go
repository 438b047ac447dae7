package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// FromStore reads from the store in dir.
func FromStore(dir string) (Origin, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return Origin{}, fmt.Errorf("there is no store in %s", dir)
	} else if err != nil {
		return Origin{}, fmt.Errorf("opening the store: %w", err)
	}
	return newOrigin(inStore{store.Open(dir)}), nil
}

type inStore struct{ *store.Store }

func (p inStore) block(ctx context.Context, c cid.Cid) ([]byte, error) { return p.Block(ctx, c) }

func (p inStore) open(ctx context.Context, f *unixfs.File) (io.ReadCloser, error) {
	file, err := p.OpenFile(f.CID)
	if errors.Is(err, fs.ErrNotExist) && len(f.Nodes) == 0 {
		return oneBlock(ctx, p, f)
	}
	return file, err
}

func (p inStore) recordedDigest(file cid.Cid) digest.Digest {
	f, err := p.OpenFile(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	return f.Digest
}

func (p inStore) Close() error   { return nil }
func (p inStore) String() string { return "the store in " + p.Dir() }

// CheckTable returns what is wrong with the leaf table that a store keeps of a file.
// Reading the file need not show it.
func (o Origin) CheckTable(f *unixfs.File) error {
	if p, ok := o.place.(inStore); ok {
		return p.CheckTable(f)
	}
	return nil
}

// RecordedDigest returns the digest under which a store keeps a file, or nothing. The
// store computed it from the leaves that Open verifies, so the whole content need
// not be hashed again.
func (o Origin) RecordedDigest(file cid.Cid) digest.Digest {
	if p, ok := o.place.(inStore); ok {
		return p.recordedDigest(file)
	}
	return ""
}
