package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// FromCAR reads from a CAR file. It also returns the roots that the file names.
func FromCAR(path string) (Origin, []cid.Cid, error) {
	f, err := os.Open(path)
	if err != nil {
		return Origin{}, nil, fmt.Errorf("opening the CAR file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file: a CAR file is read in any order")
	}
	var blocks *car.File
	if err == nil {
		blocks, err = car.Open(f, info.Size())
	}
	if err != nil {
		f.Close()
		return Origin{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	return newOrigin(&inCAR{blocks, f}), blocks.Roots, nil
}

type inCAR struct {
	car  *car.File
	file *os.File
}

func (p *inCAR) block(_ context.Context, c cid.Cid) ([]byte, error) {
	data, found, err := p.car.Block(c)
	if !found && err == nil {
		err = missing(c)
	}
	return data, err
}

func (p *inCAR) open(_ context.Context, f *unixfs.File) (io.ReadCloser, error) {
	return io.NopCloser(&leafReader{car: p.car, table: f.Table}), nil
}

func (p *inCAR) Close() error   { return p.file.Close() }
func (p *inCAR) String() string { return "the CAR file " + p.file.Name() }

// A leafReader reads a file from the blocks of its leaves.
type leafReader struct {
	car   *car.File
	table *unixfs.Table
	next  int          // index of the leaf to read next
	rest  bytes.Reader // of the leaf before it
}

func (r *leafReader) Read(p []byte) (int, error) {
	for r.rest.Len() == 0 {
		if r.next == len(r.table.Leaves) {
			return 0, io.EOF
		}
		c := r.table.CID(r.next)
		block, found, err := r.car.Block(c)
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, missing(c)
		}
		data, err := r.table.Unwrap(r.next, block)
		if err != nil {
			return 0, err
		}
		r.rest.Reset(data)
		r.next++
	}
	return r.rest.Read(p)
}
