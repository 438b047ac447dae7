package wholefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/citest"
)

// A write that fails leaves the file as it was, and no temporary files.
func TestFailedWriteLeavesNothing(t *testing.T) {
	failed := errors.New("failed")
	for name, before := range map[string]string{"new": "", "old": "content"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if before != "" {
			if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f, err := New(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.TempDir(), "blob"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		err = f.Write(func(w io.Writer) error {
			io.WriteString(w, "half")
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if string(after) != before || (err == nil) != (before != "") {
			t.Errorf("%s: it is %q, %v", name, after, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("%s: there are %q", name, left)
		}
	}
}

func TestOnlyRegularFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	if _, err := New(dir); err == nil {
		t.Error("a directory would be replaced")
	}
	link := filepath.Join(dir, "link")
	target := filepath.Join(dir, "target")
	if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, link)); err != nil {
		t.Fatal(err)
	}
	f, err := New(link)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.String() != target {
		t.Errorf("a link is replaced instead of %s", target)
	}
}

// A link of a third user is not followed, neither to the file nor on the way to it: root
// would write wherever it leads.
func TestLinksOfOtherUsersAreNotFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		citest.Skip(t, "only root can make links of another user")
	}
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	const other = 54321
	for name, leads := range map[string]string{"file": filepath.Join(target, "new"), "dir": target} {
		link := filepath.Join(dir, name)
		if err := os.Symlink(leads, link); err != nil {
			t.Fatal(err)
		}
		path := link
		if name == "dir" {
			path = filepath.Join(link, "new")
		}
		f, err := New(path)
		if err != nil {
			t.Fatalf("%s: a link of our own: %v", name, err)
		}
		if f.String() != filepath.Join(target, "new") {
			t.Errorf("%s: the file is %s", name, f)
		}
		f.Close()
		if err := os.Lchown(link, other, other); err != nil {
			t.Fatal(err)
		}
		if _, err := New(path); err == nil || !strings.Contains(err.Error(), "a link of user 54321") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
