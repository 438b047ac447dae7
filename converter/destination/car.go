package destination

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/wholefile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/tree"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
)

// A CAR writes images to a CAR file.
type CAR struct{ file *wholefile.File }

// ToCAR returns a destination that writes the CARv1 file at path, and replaces one
// that exists.
func ToCAR(path string) (*CAR, error) {
	file, err := wholefile.New(path)
	if err != nil {
		return nil, err
	}
	return &CAR{file}, nil
}

// TempDir is part of converter.Destination.
func (d *CAR) TempDir() string { return d.file.TempDir() }

// Close is part of converter.Destination.
func (d *CAR) Close() error { return d.file.Close() }

// Commit is part of converter.Destination.
func (d *CAR) Commit(ctx context.Context, t *tree.Tree) error {
	return d.file.Write(func(w io.Writer) error {
		if err := writeCAR(ctx, w, t); err != nil {
			return fmt.Errorf("writing %s: %w", d.file, err)
		}
		return nil
	})
}

func writeCAR(ctx context.Context, w io.Writer, t *tree.Tree) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	blocks, err := car.NewWriter(buffered, t.Root.CID)
	if err != nil {
		return err
	}
	if err := t.WriteBlocks(ctx, blocks.Put); err != nil {
		return err
	}
	return buffered.Flush()
}
