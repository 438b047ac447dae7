package export

import (
	"context"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/wholefile"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// ToFile is Export to the file at path, which is replaced if it is there. It
// is there whole, and synced, or not at all.
func ToFile(ctx context.Context, from origin.Origin, root cid.Cid, path string, o Options) error {
	file, err := wholefile.New(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Write(func(w io.Writer) error { return Images(ctx, from, root, w, o) })
}
