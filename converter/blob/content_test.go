package blob

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Bytes that a broken disk changed do not get into an image.
func TestReadAgain(t *testing.T) {
	layer, other := testimage.Layer("a", 10_000), testimage.Layer("b", 10_000)
	for name, test := range map[string]struct {
		came []byte
		then []byte // what the file has later
		Form func(*Content) (*Blob, error)
	}{
		"as it came, from members": {layer, testimage.Gzipped(other), (*Content).AsIs},
		"as members, from the tar": {make([]byte, 1024), other, (*Content).AsLayer},
	} {
		ws := workspaceOf(t.Context(), t, Form{Profile: unixfs.V1})
		c := readLayer(t, ws, test.came)
		if err := os.WriteFile(cmp.Or(c.kept, c.aligned).Path, test.then, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := test.Form(c); err == nil || !strings.Contains(err.Error(), "when read again") {
			t.Errorf("%s: the error is %v", name, err)
		}
		if files, _ := os.ReadDir(ws.Dir); len(files) != 1 {
			t.Errorf("%s: there are %d files, want what came alone", name, len(files))
		}
	}
}

// A cancelled conversion ends at once, also after the archive was read.
func TestCancelledWhileRewriting(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	ws := workspaceOf(ctx, t, Form{Profile: unixfs.V1})
	align := func(r io.Reader) (*Blob, error) { return ws.align(r, Gzip) }
	for name, f := range map[string]func(io.Reader) (*Blob, error){"keep": ws.Keep, "align": align} {
		if _, err := f(bytes.NewReader(make([]byte, 1<<20))); err != io.ErrClosedPipe {
			t.Errorf("%s: %v, want %v", name, err, io.ErrClosedPipe)
		}
	}
}

// workspaceOf returns a workspace in a directory of its own.
func workspaceOf(ctx context.Context, t *testing.T, f Form) *Workspace {
	t.Helper()
	ws, err := NewWorkspace(ctx, t.TempDir(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ws
}
