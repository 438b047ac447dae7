package converter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// ExportFile is Export to the file at path, which is replaced if it is there. It
// is there whole, and synced, or not at all.
func ExportFile(ctx context.Context, from origin.Origin, root cid.Cid, path string, o ExportOptions) error {
	path, err := regularFile(path)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".converter-")
	if err != nil {
		return fmt.Errorf("preparing %s: %w", path, err)
	}
	defer os.RemoveAll(tmp)
	f, err := os.Create(filepath.Join(tmp, "archive"))
	if err != nil {
		return fmt.Errorf("preparing %s: %w", path, err)
	}
	if err := Export(ctx, from, root, f, o); err != nil {
		return errors.Join(err, f.Close())
	}
	err = errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
