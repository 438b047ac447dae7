package car

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Verify reads a CAR of size bytes, and reports every block that does not match its CID
// and every missing root. The error says why the CAR could not be read to its end.
func Verify(ctx context.Context, file io.ReaderAt, size int64, report func(cid.Cid, error)) error {
	start, size, err := section(file, size)
	if err != nil {
		return err
	}
	r, err := NewReader(io.NewSectionReader(file, start, size))
	if err != nil {
		return err
	}
	missing := map[string]cid.Cid{}
	for _, root := range r.Roots {
		missing[blockKey(root)] = root
	}
	if len(missing) == 0 {
		report(cid.Undef, errors.New("the CAR names no root"))
	}
	for ctx.Err() == nil {
		c, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		at := start + r.Offset()
		data, err := r.Block()
		if err != nil {
			return fmt.Errorf("block %s: %w", c, err)
		}
		delete(missing, blockKey(c))
		if err := (unixfs.Block{CID: c, Data: data}).Verify(); err != nil {
			report(c, fmt.Errorf("at byte %d: %w", at, err))
		}
	}
	for _, root := range missing {
		report(root, errors.New("the CAR names this root but does not have it"))
	}
	return context.Cause(ctx)
}
