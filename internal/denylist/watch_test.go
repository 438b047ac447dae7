package denylist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
)

func TestChangedFilesAreReadOnceTheyAreSettled(t *testing.T) {
	dir := t.TempDir()
	file, other, link := filepath.Join(dir, "list"), filepath.Join(dir, "other"), filepath.Join(dir, "link")
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put(file, "")
	must(os.Symlink("list", link))
	l, err := Open([]string{link}, nil)
	must(err)

	var reports []string
	look := func() {
		l.look(func(file string, rules int, err error) {
			reports = append(reports, fmt.Sprintf("%s: %d rules, %v", filepath.Base(file), rules, err))
		})
	}
	for _, step := range []struct {
		what    string
		do      func()
		denied  bool
		reports []string
	}{
		{"nothing", func() {}, false, nil},
		{"appended", func() { put(file, "/ipfs/"+aCID) }, true, []string{"link: 1 rules, <nil>"}},
		{"replaced", func() { put(other, "# none\n"); must(os.Rename(other, file)) }, false, []string{"link: 0 rules, <nil>"}},
		{"linked", func() {
			put(other, "/ipfs/"+aCID+"\n/ipfs/"+another)
			must(os.Symlink("other", filepath.Join(dir, "new")))
			must(os.Rename(filepath.Join(dir, "new"), link))
		}, true, []string{"link: 2 rules, <nil>"}},
		{"malformed", func() { put(other, "nginx\n") }, true, []string{`link: 0 rules, ` + link + `: line 1: "nginx": not a rule: a rule begins with /ipfs/, /ipns/ or //, or with ! and one of them`}},
		{"mended", func() { put(other, "/ipfs/"+aCID+"\n") }, true, []string{"link: 1 rules, <nil>"}},
		{"removed", func() { must(os.Remove(other)) }, true, []string{"link: 0 rules, stat " + link + ": no such file or directory"}},
		{"a directory", func() { must(os.Mkdir(other, 0o700)) }, true, nil}, // nothing to read, as before
		{"there again", func() { must(os.Remove(other)); put(other, "") }, false, []string{"link: 0 rules, <nil>"}},
	} {
		step.do()
		look() // changed, and perhaps being written
		if len(reports) > 0 {
			t.Errorf("%s: read although it may not be whole: %q", step.what, reports)
		}
		look() // the same as before
		look() // known
		if denied := l.Check(cid.MustParse(aCID), "app") != nil; denied != step.denied || !slices.Equal(reports, step.reports) {
			t.Errorf("%s: denied %v, reported %q; want %v, %q", step.what, denied, reports, step.denied, step.reports)
		}
		reports = nil
	}
}

func TestFileThatKeepsChangingIsNotRead(t *testing.T) {
	file := write(t, "")[0]
	l, err := Open([]string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for range 10 {
		text += "/ipfs/" + aCID + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l.look(func(string, int, error) { t.Error("it is read while it is written") })
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	file := write(t, "")[0]
	l, err := Open([]string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan int, 1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.Watch(ctx, 2*time.Second, func(_ string, rules int, _ error) { read <- rules })
		}()
		if err := os.WriteFile(file, []byte("/ipfs/"+aCID), 0o600); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if n := <-read; n != 1 || time.Since(before) != 4*time.Second {
			t.Errorf("%d rules after %s", n, time.Since(before))
		}
		cancel()
		<-ended
	})
}

func TestChecksDuringAReloadSeeOneStateOfTheLists(t *testing.T) {
	file := write(t, "")[0]
	l, err := Open([]string{file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 200
	done := make(chan struct{})
	var checks sync.WaitGroup
	for range 4 {
		checks.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				err := l.Check(cid.MustParse(aCID), "app/manifests/latest", cid.MustParse(another))
				var denied *Denied
				if err != nil && (!errors.As(err, &denied) || denied.Line != 7) {
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	for i := range rounds {
		text := fmt.Sprintf("# %d\n", i)
		if i%2 == 1 {
			text += "\n\n\n\n\n/ipfs/" + aCID + "/*\n"
		}
		next := file + ".next"
		if err := errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, file)); err != nil {
			t.Fatal(err)
		}
		read := 0
		for range 2 {
			l.look(func(_ string, _ int, err error) {
				if read++; err != nil {
					t.Error(err)
				}
			})
		}
		if denied := l.Check(cid.MustParse(aCID), "") != nil; read != 1 || denied != (i%2 == 1) {
			t.Errorf("round %d: read %d times, denied %v", i, read, denied)
		}
	}
	close(done)
	checks.Wait()
}
