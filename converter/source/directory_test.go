package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

const secret = "the password of the user"

// layoutWithLink returns the directory of a layout, in which a path is a link to a file
// outside that has a secret.
func layoutWithLink(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	link := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string]string{outside: secret, filepath.Join(dir, ocilayout.Index): "{}"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkTellsNothing checks that an error has neither the secret nor its digest.
func checkTellsNothing(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, s := range []string{secret, testimage.HexOf([]byte(secret)), "password"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("the error tells %q: %v", s, err)
		}
	}
}

// The author of a layout can put links into it, and may see the errors of the machine
// that converts it. These errors reveal nothing about a file outside.
func TestLayoutTellsNothingOfFilesOutside(t *testing.T) {
	wrong := testimage.Describe(v1.MediaTypeImageConfig, []byte("something else"))
	for _, size := range []int64{int64(len(secret)), 1, 1 << 20} {
		d := wrong
		d.Size = size
		l, err := FromLayout(layoutWithLink(t, ocilayout.BlobPath(d.Digest))).Open(workspace(t))
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Blob(d)
		checkTellsNothing(t, err)
		_, err = l.Document(d)
		checkTellsNothing(t, err)
	}
	_, err := FromLayout(layoutWithLink(t, ocilayout.Index)).Open(workspace(t))
	checkTellsNothing(t, err)
}

// A link is followed to the file that its digest names, as in the layouts of Bazel.
func TestLayoutFollowsLinksToWhatItsDigestsName(t *testing.T) {
	d := testimage.Describe(v1.MediaTypeImageConfig, []byte(secret))
	l, err := FromLayout(layoutWithLink(t, ocilayout.BlobPath(d.Digest))).Open(workspace(t))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := l.Document(d); err != nil || string(data) != secret {
		t.Errorf("got %q, %v", data, err)
	}
}

// Reading a pipe in a layout would never end, so it is refused.
func TestLayoutReadsRegularFilesOnly(t *testing.T) {
	d := testimage.Describe(v1.MediaTypeImageConfig, []byte("{}"))
	dir := layoutWithLink(t, "unused")
	if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(ocilayout.BlobPath(d.Digest))), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := FromLayout(dir).Open(workspace(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Blob(d); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("the error is %v", err)
	}
	missing := testimage.Describe(v1.MediaTypeImageConfig, []byte("nowhere"))
	if _, err := l.Blob(missing); !manifest.IsMissing(err) {
		t.Errorf("the error is %v, want a MissingError", err)
	}
}
