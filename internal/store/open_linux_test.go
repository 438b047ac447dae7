package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// openBeneath stays in the directory, and leaves all that Linux refuses to os.Root.
func TestOpenBeneathKeepsToTheDirectory(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	for name, target := range map[string]string{
		"out": filepath.Join(outside, "secret"), "up": "../secret", "sub/in": "file", "sub/up": "../../secret",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o700), os.Symlink(target, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{filepath.Join(outside, "secret"), filepath.Join(filepath.Dir(dir), "secret"), filepath.Join(dir, "sub/file")} {
		if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{
		"sub/file": nil, "sub/in": nil, "none": fs.ErrNotExist, "sub/none": fs.ErrNotExist,
		"out": errors.ErrUnsupported, "up": errors.ErrUnsupported, "sub/up": errors.ErrUnsupported, "../secret": errors.ErrUnsupported,
	} {
		f, err := openBeneath(dir, name)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err != nil {
			continue
		}
		content, err := io.ReadAll(f)
		if f.Close(); err != nil || string(content) != "content" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	if _, err := openBeneath(filepath.Join(dir, "absent"), "file"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in no directory: %v", err)
	}
}
