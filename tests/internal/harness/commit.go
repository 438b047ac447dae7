package harness

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// CommitTime is the Unix time of the commit that CommitCheckout makes.
const CommitTime = 1700000000

// CommitCheckout makes a repository with one commit: this checkout as it is, with all
// uncommitted changes.
func CommitCheckout(t *testing.T) (dir string) {
	t.Helper()
	Need(t, "git")
	dir = t.TempDir()
	here := os.DirFS(InRepo("."))
	err := fs.WalkDir(here, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{".git", "bin", "dist"}, name):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := fs.ReadFile(here, name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), content, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"commit", "--quiet", "--message=all of it"}} {
		git := exec.Command("git", append([]string{"-c", "user.name=tests", "-c", "user.email=tests@localhost"}, args...)...)
		git.Dir = dir
		date := fmt.Sprintf("%d +0000", CommitTime)
		git.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
		Run(t, git)
	}
	return dir
}
