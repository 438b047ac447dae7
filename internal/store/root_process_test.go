package store

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The environment of a process that writes to a root: the store's directory, the name of its
// repository, and how many changes it makes.
const (
	writerStore = "TEST_ROOT_STORE"
	writerName  = "TEST_ROOT_NAME"
	writerCount = "TEST_ROOT_COUNT"
)

// TestRootWriter is the program of the processes that other tests start. It prints the tag of
// each change that was answered.
func TestRootWriter(t *testing.T) {
	dir, name := os.Getenv(writerStore), os.Getenv(writerName)
	if dir == "" {
		return
	}
	count, err := strconv.Atoi(os.Getenv(writerCount))
	check(t, err)
	s := Open(dir)
	change := s.Root().Change
	if strings.HasPrefix(name, converting) {
		change = func(_ context.Context, edit func(context.Context, *Draft) error) (Changed, error) {
			return convert(t, s, name, edit)
		}
	}
	for i := range count {
		tag := fmt.Sprint("v", i)
		_, err := change(t.Context(), putTag(name, tag, name+tag))
		check(t, err)
		fmt.Printf("did %s\n", tag)
	}
}

// converting begins the names of repositories to which a conversion adds images.
const converting = "converted"

// convert makes a change together with a blob, as a conversion does.
func convert(t *testing.T, s *Store, name string, change func(context.Context, *Draft) error) (Changed, error) {
	im, err := s.BeginImport()
	check(t, err)
	defer im.Close()
	content := random(1 << 10)
	path := filepath.Join(im.TempDir(), "blob")
	check(t, os.WriteFile(path, content, 0o600))
	cutter := unixfs.V1.NewCutter()
	cutter.Write(content)
	file, err := unixfs.V1.Layout(cutter.Table())
	check(t, err)
	check(t, im.Lock(t.Context()))
	check(t, im.Blob(path, digest.FromBytes(content), file))
	return im.ChangeRoot(t.Context(), func(ctx context.Context, d *Draft) error {
		if err := change(ctx, d); err != nil {
			return err
		}
		return d.Edit(ctx, map[string]*unixfs.Node{layout.BlobPath(name, digest.FromBytes(content)): &file.Node})
	})
}

// random returns n bytes that no other process makes.
func random(n int) []byte {
	b := make([]byte, n)
	crand.Read(b)
	return b
}

// A writer is a process that writes to a root.
type writer struct {
	*exec.Cmd
	name string
	out  io.Reader
}

func startWriter(t *testing.T, dir, name string, count int) *writer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootWriter$")
	cmd.Env = append(os.Environ(), writerStore+"="+dir, writerName+"="+name, writerCount+"="+strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	return &writer{cmd, name, out}
}

// answered waits for the end of the process, and returns the tags of the changes that it was
// told of.
func (w *writer) answered() (tags []string, err error) {
	lines := bufio.NewScanner(w.out)
	for lines.Scan() {
		if tag, ok := strings.CutPrefix(lines.Text(), "did "); ok {
			tags = append(tags, tag)
		}
	}
	return tags, w.Wait()
}

// Several processes and a goroutine change one root, and a collection runs beside them: no
// change is lost, and none is made twice.
func TestProcessesShareARoot(t *testing.T) {
	s := Open(t.TempDir())
	const each = 15
	writers := []*writer{startWriter(t, s.Dir(), "one", each), startWriter(t, s.Dir(), "two", each), startWriter(t, s.Dir(), converting, each)}
	var group sync.WaitGroup
	group.Go(func() {
		for i := range each {
			tag := fmt.Sprint("v", i)
			if _, err := s.Root().Change(context.Background(), putTag("three", tag, "three"+tag)); err != nil {
				t.Error(err)
			}
			if _, err := s.Collect(context.Background(), false); err != nil {
				t.Error(err)
			}
		}
	})
	for _, w := range writers {
		if tags, err := w.answered(); err != nil || len(tags) != each {
			t.Errorf("%s made %d changes, %v", w.name, len(tags), err)
		}
	}
	group.Wait()
	logged := map[string]int{}
	for _, state := range states(t, s) {
		for _, a := range state.Actions {
			logged[a.Name+a.Reference]++
		}
	}
	for _, name := range []string{"one", "two", "three", converting} {
		for i := range each {
			tag := fmt.Sprint("v", i)
			if !hasTag(t, s, current(t, s), name, tag, name+tag) || logged[name+tag] != 1 {
				t.Errorf("%s:%s is in the log %d times", name, tag, logged[name+tag])
			}
		}
	}
}

// Two processes and a conversion are killed at random moments. Every change that was answered is there, the
// current state is whole, and the log agrees with it.
func TestKilledRootWriters(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	random := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	for round := range rounds {
		writers := []*writer{
			startWriter(t, dir, fmt.Sprintf("a-%d", round), 1000),
			startWriter(t, dir, fmt.Sprintf("b-%d", round), 1000),
			startWriter(t, dir, fmt.Sprintf("%s-%d", converting, round), 1000),
		}
		after := time.Duration(random.IntN(150)) * time.Millisecond
		for _, w := range writers {
			time.AfterFunc(after, func() { w.Process.Kill() })
			after += time.Duration(random.IntN(20)) * time.Millisecond
		}
		s := Open(dir)
		answered := map[string][]string{}
		for _, w := range writers {
			answered[w.name], _ = w.answered()
		}
		if !s.Root().Exists() {
			continue // they were killed before they began
		}
		checkRoot(t, s, answered)
	}
	s := Open(dir)
	changed(t, s, putTag("last", "v1", "last"))
	checkRoot(t, s, map[string][]string{"last": nil})
	log, err := os.ReadFile(filepath.Join(dir, "root", "log"))
	check(t, err)
	if got := strings.Count(string(log), "\n"); got != len(states(t, s)) {
		t.Errorf("the log has %d lines, and %d states", got, len(states(t, s)))
	}
	if _, err := s.Collect(t.Context(), false); err != nil {
		t.Errorf("the states are not whole: %v", err)
	}
}

// checkRoot checks that the current state is whole, is the newest one in the log, and has all
// changes that were answered.
func checkRoot(t *testing.T, s *Store, answered map[string][]string) {
	t.Helper()
	root, err := s.Root().current()
	check(t, err)
	if !root.Defined() {
		for name, tags := range answered {
			if len(tags) > 0 {
				t.Fatalf("%s:%s was answered, and there is no root", name, tags[0])
			}
		}
		return
	}
	if err := s.newWalk().follow(t.Context(), root); err != nil {
		t.Fatalf("the current state is not whole: %v", err)
	}
	all, err := s.Root().States(t.Context(), 1)
	if err != nil || len(all) != 1 || !all[0].Root.Equals(root) || len(all[0].Actions) == 0 {
		t.Fatalf("the log does not agree with the current state: %v, %v", all, err)
	}
	for name, tags := range answered {
		for _, tag := range tags {
			if !hasTag(t, s, root, name, tag, name+tag) {
				t.Errorf("%s:%s was answered, and is lost", name, tag)
			}
		}
	}
}
