package tree

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A File of a tree is a blob, or a small file of one block.
type File struct {
	Blob  *blob.Blob
	Small unixfs.Block // where Blob is nil
	Data  []byte       // content of Small
}

// Node returns the DAG of the file.
func (f File) Node() unixfs.Node {
	if f.Blob != nil {
		return f.Blob.File.Node
	}
	return unixfs.Node{CID: f.Small.CID, Size: uint64(len(f.Small.Data))}
}

// Open returns the content of the file.
func (f File) Open(ctx context.Context) (io.ReadCloser, error) {
	if f.Blob == nil {
		return io.NopCloser(bytes.NewReader(f.Data)), nil
	}
	return f.Blob.Open(ctx)
}

// Document returns the content of a file of at most layout.MaxManifest bytes.
func (f File) Document(ctx context.Context) ([]byte, error) {
	if f.Blob != nil && f.Blob.Size() > layout.MaxManifest {
		return nil, fmt.Errorf("longer than %d bytes", layout.MaxManifest)
	}
	r, err := f.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// NewFile makes a file of data: a small one if one block can hold it, and else a blob.
func NewFile(ws *blob.Workspace, data []byte) (File, error) {
	if len(data) > ws.Profile.LeafSize() {
		b, err := ws.Keep(bytes.NewReader(data))
		return File{Blob: b}, err
	}
	table := ws.Profile.NewTable()
	table.Add(data)
	return File{Small: table.Block(0, data), Data: data}, nil
}
