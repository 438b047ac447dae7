package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

func TestWriteReplacesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"old", "new", ""} {
		if err := Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("it has %q, %v, want %q", got, err, content)
		}
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	checkNames(t, filepath.Dir(path), "file")
}

func TestFileThatIsNotRenamedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir, "new-", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if f, err = Create(dir, "new-", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Rename(filepath.Join(dir, "missing", "file")); err == nil {
		t.Error("the file was renamed into a directory that does not exist")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	checkNames(t, dir)
}

func checkNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Fatalf("%v, %v, want %v", entries, err, want)
	}
	for i, e := range entries {
		if e.Name() != want[i] {
			t.Errorf("%v, want %v", entries, want)
		}
	}
}

// Linux's /proc refuses to sync a directory with EINVAL, as shared folders do.
func TestSyncDirAcceptsDirectoriesThatCannotBeSynced(t *testing.T) {
	if err := SyncDir(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := SyncDir(filepath.Join(t.TempDir(), "missing")); err == nil && runtime.GOOS != "windows" {
		t.Error("a missing directory was synced")
	}
	if runtime.GOOS == "linux" {
		f, err := os.Open("/proc")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Sync() == nil {
			t.Error("/proc does sync its directories")
		}
		if err := SyncDir("/proc"); err != nil {
			t.Error(err)
		}
	}
	for err, want := range map[error]bool{
		&fs.PathError{Op: "sync", Err: syscall.EINVAL}:  true,
		&fs.PathError{Op: "sync", Err: syscall.ENOTSUP}: true,
		&fs.PathError{Op: "sync", Err: syscall.EIO}:     false,
		&fs.PathError{Op: "sync", Err: syscall.ENOSPC}:  false,
		nil: false,
	} {
		if isUnsupported(err) != want {
			t.Errorf("%v counts as unsupported: %v", err, !want)
		}
	}
}
