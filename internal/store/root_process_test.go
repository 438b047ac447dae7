package store

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"errors"
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
// each change that was answered, and the sequence number and the hash of the record that it
// gives out then.
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
		signed, err := s.Root().Signed(t.Context())
		check(t, err)
		fmt.Printf("gave %d %x\n", signed.Sequence, sha256.Sum256(signed.Data))
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
	gave []given
}

// A given describes a record that was given out.
type given struct {
	sequence uint64
	hash     string
}

// A ledger has every record that was given out.
type ledger map[uint64]string

// enter adds the records that a process gave out. It checks that no two have the same sequence
// number, and that the numbers of one process never decrease.
func (l ledger) enter(t *testing.T, gave []given) {
	t.Helper()
	last := uint64(0)
	for _, g := range gave {
		if other, ok := l[g.sequence]; ok && other != g.hash {
			t.Errorf("two records with the sequence number %d were given out", g.sequence)
		}
		if l[g.sequence] = g.hash; g.sequence < last {
			t.Errorf("record %d was given out after %d", g.sequence, last)
		}
		last = g.sequence
	}
}

// newest returns the highest sequence number that was given out.
func (l ledger) newest() uint64 {
	newest := uint64(0)
	for sequence := range l {
		newest = max(newest, sequence)
	}
	return newest
}

func startWriter(t *testing.T, dir, name string, count int) *writer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRootWriter$")
	cmd.Env = append(os.Environ(), writerStore+"="+dir, writerName+"="+name, writerCount+"="+strconv.Itoa(count))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	return &writer{Cmd: cmd, name: name, out: out}
}

// answered waits for the end of the process, and returns the tags of the changes that it was
// told of.
func (w *writer) answered() (tags []string, err error) {
	lines := bufio.NewScanner(w.out)
	for lines.Scan() {
		if tag, ok := strings.CutPrefix(lines.Text(), "did "); ok {
			tags = append(tags, tag)
		}
		var g given
		if n, _ := fmt.Sscanf(lines.Text(), "gave %d %s", &g.sequence, &g.hash); n == 2 && len(g.hash) == 2*sha256.Size {
			w.gave = append(w.gave, g)
		}
	}
	return tags, w.Wait()
}

// Several processes and a goroutine change one root, and a collection runs beside them: no
// change is lost, and none is made twice. No two records with the same sequence number are
// given out, though the goroutine signs its own as well.
func TestProcessesShareARoot(t *testing.T) {
	s := Open(t.TempDir())
	_, err := s.Root().EnsureKey(t.Context())
	check(t, err)
	const each = 15
	writers := []*writer{startWriter(t, s.Dir(), "one", each), startWriter(t, s.Dir(), "two", each), startWriter(t, s.Dir(), converting, each)}
	var (
		group     sync.WaitGroup
		published []given
	)
	group.Go(func() {
		for i := range each {
			tag := fmt.Sprint("v", i)
			signed, err := s.Root().Publish(context.Background())
			if err != nil && !errors.Is(err, ErrLacking) {
				t.Error(err)
			}
			if err == nil {
				published = append(published, given{signed.Sequence, fmt.Sprintf("%x", sha256.Sum256(signed.Data))})
			}
			if _, err := s.Root().Change(context.Background(), putTag("three", tag, "three"+tag)); err != nil {
				t.Error(err)
			}
			if _, err := s.Collect(context.Background(), false); err != nil {
				t.Error(err)
			}
		}
	})
	records := ledger{}
	for _, w := range writers {
		if tags, err := w.answered(); err != nil || len(tags) != each || len(w.gave) != each {
			t.Errorf("%s made %d changes and gave out %d records, %v", w.name, len(tags), len(w.gave), err)
		}
		records.enter(t, w.gave)
	}
	group.Wait()
	records.enter(t, published)
	if last := signed(t, s); last.Sequence < records.newest() {
		t.Errorf("record %d was given out, and the last one is %d", records.newest(), last.Sequence)
	}
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

// Two processes and a conversion are killed at random moments. Every change that was answered
// is there, the current state is whole, and the log and the record agree with it.
func TestKilledRootWriters(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	random := rand.New(rand.NewPCG(3, 4))
	dir, records := t.TempDir(), ledger{}
	_, err := Open(dir).Root().EnsureKey(t.Context())
	check(t, err)
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
			records.enter(t, w.gave)
		}
		if _, err := s.Root().Current(); errors.Is(err, ErrLacking) && records.newest() == 0 {
			continue // they were killed before they began
		}
		checkRoot(t, s, answered)
		last := signed(t, s)
		if last.Sequence < records.newest() {
			t.Errorf("record %d was given out, and the last one is %d", records.newest(), last.Sequence)
		}
		records.enter(t, []given{{last.Sequence, fmt.Sprintf("%x", sha256.Sum256(last.Data))}})
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
