package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// putTag puts a manifest into a repository under a tag and its digest.
func putTag(name, tag, content string) func(context.Context, *Draft) error {
	return func(ctx context.Context, d *Draft) error {
		file, err := d.AddFile([]byte(content))
		if err != nil {
			return err
		}
		sum := digest.FromString(content)
		d.Note(Action{What: "push", Name: name, Reference: tag, Digest: sum, User: "alice"})
		return d.Edit(ctx, map[string]*unixfs.Node{layout.ManifestPath(name, tag): &file, layout.ManifestPath(name, sum.String()): &file})
	}
}

func removePath(name, path string) func(context.Context, *Draft) error {
	return func(ctx context.Context, d *Draft) error {
		d.Note(Action{What: "delete", Name: name, Reference: filepath.Base(path)})
		return d.Edit(ctx, map[string]*unixfs.Node{path: nil})
	}
}

// changed makes a change, and returns the new state.
func changed(t testing.TB, s *Store, change func(context.Context, *Draft) error) State {
	t.Helper()
	done, err := s.Root().Change(t.Context(), change)
	check(t, err)
	return done.State
}

func current(t testing.TB, s *Store) cid.Cid {
	t.Helper()
	c, err := s.Root().Current()
	check(t, err)
	return c
}

func states(t testing.TB, s *Store) []State {
	t.Helper()
	all, err := s.Root().States(t.Context(), 1<<20)
	check(t, err)
	return all
}

func hasTag(t testing.TB, s *Store, root cid.Cid, name, tag, content string) bool {
	t.Helper()
	got, err := s.ReadFile(t.Context(), root, layout.ManifestPath(name, tag), 1<<20)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(got) == content && err == nil
}

func TestRootChanges(t *testing.T) {
	s := Open(t.TempDir())
	if _, err := s.Root().Current(); !errors.Is(err, ErrLacking) {
		t.Errorf("a root into which nothing was put: %v", err)
	}
	if all := states(t, s); len(all) != 0 {
		t.Errorf("it has the states %v", all)
	}
	first := changed(t, s, putTag("team/app", "v1", "one"))
	second := changed(t, s, putTag("team/other", "v2", "two"))
	if c := current(t, s); !c.Equals(second.Root) || c.Equals(first.Root) {
		t.Errorf("the root is %s", c)
	}
	if !hasTag(t, s, second.Root, "team/app", "v1", "one") || !hasTag(t, s, second.Root, "team/other", "v2", "two") {
		t.Error("an image is missing")
	}
	if hasTag(t, s, first.Root, "team/other", "v2", "two") {
		t.Error("an earlier state has changed")
	}
	all := states(t, s)
	if len(all) != 2 || !all[0].Root.Equals(second.Root) || !all[1].Root.Equals(first.Root) || !all[1].Replaced.Equal(all[0].Time) {
		t.Fatalf("the states are %v", all)
	}
	a := all[0].Actions[0]
	if a.What != "push" || a.Name != "team/other" || a.Reference != "v2" || a.User != "alice" || a.Digest != digest.FromString("two") {
		t.Errorf("the log has %v", a)
	}
	if !hasTag(t, s, a.Address, "team/other", "v2", "two") || hasTag(t, s, a.Address, "team/app", "v1", "one") {
		t.Error("the address is not of a directory that holds the repository alone")
	}
	if alone, err := s.Root().Alone(t.Context(), "team/other"); err != nil || !alone.Equals(a.Address) {
		t.Errorf("the repository alone is %s, %v", alone, err)
	}
	again, err := s.Root().Change(t.Context(), putTag("team/other", "v2", "two"))
	if err != nil || again.IsNew || !again.State.Actions[0].Address.Equals(a.Address) || len(states(t, s)) != 2 {
		t.Errorf("the same again gives %v, %v", again, err)
	}
}

// Repositories below another one are not part of its address.
func TestAddressLeavesOutRepositoriesBelow(t *testing.T) {
	s := Open(t.TempDir())
	alone := changed(t, s, putTag("team", "v1", "one")).Actions[0].Address
	changed(t, s, putTag("team/app", "v1", "two"))
	if got, err := s.Root().Alone(t.Context(), "team"); err != nil || !got.Equals(alone) {
		t.Errorf("the address of the same images is %s, and was %s: %v", got, alone, err)
	}
	if _, err := s.Root().Alone(t.Context(), "none"); !errors.Is(err, ErrLacking) {
		t.Errorf("a repository that does not exist: %v", err)
	}
}

func TestFailedChangesLeaveTheRoot(t *testing.T) {
	s := Open(t.TempDir())
	before := changed(t, s, putTag("app", "v1", "one"))
	sorry := errors.New("sorry")
	_, err := s.Root().Change(t.Context(), func(ctx context.Context, d *Draft) error {
		check(t, putTag("app", "v2", "two")(ctx, d))
		return sorry
	})
	if !errors.Is(err, sorry) || !current(t, s).Equals(before.Root) || len(states(t, s)) != 1 {
		t.Errorf("%v, and the root is %s", err, current(t, s))
	}
}

// A state has the CID of the tree that has the same files and was built from nothing,
// whatever the changes were that led to it. That holds for directories that are sharded, and
// for those that were.
func TestStatesDependOnTheirContentAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := Open(t.TempDir())
	files := map[string]unixfs.Node{}
	edit := func(changes map[string]string) cid.Cid {
		return changed(t, s, func(ctx context.Context, d *Draft) error {
			nodes := map[string]*unixfs.Node{}
			for path, content := range changes {
				if content == "" {
					nodes[path] = nil
					delete(files, path)
					continue
				}
				file, err := d.AddFile([]byte(content))
				if err != nil {
					return err
				}
				nodes[path], files[path] = &file, file
			}
			return d.Edit(ctx, nodes)
		}).Root
	}
	many := func(content string) map[string]string {
		changes := map[string]string{}
		for i := range 5000 { // more than fit into one block
			changes[layout.ManifestPath("large", fmt.Sprintf("a-tag-with-a-long-name-%d", i))] = content
		}
		return changes
	}
	compare := func(got cid.Cid) {
		t.Helper()
		want, err := unixfs.V1.Tree(t.Context(), files, func(unixfs.Block) error { return nil })
		check(t, err)
		if !got.Equals(want.CID) {
			t.Fatalf("a state of %d files is %s, and built from nothing %s", len(files), got, want.CID)
		}
	}
	compare(edit(map[string]string{"app/manifests/v1": "one"}))
	compare(edit(many("two")))
	for range 12 {
		changes := map[string]string{}
		for range 1 + random.IntN(5) {
			path := layout.ManifestPath([]string{"large", "team/app", "team", "x/y/z"}[random.IntN(4)], fmt.Sprintf("a-tag-with-a-long-name-%d", random.IntN(6000)))
			changes[path] = []string{"", "three", "four"}[random.IntN(3)]
		}
		compare(edit(changes))
	}
	compare(edit(many("")))
	all := map[string]string{}
	for path := range maps.Clone(files) {
		all[path] = ""
	}
	compare(edit(all))
}

// Changes that wait are made together, and each of them is made and logged once.
func TestConcurrentChanges(t *testing.T) {
	s := Open(t.TempDir())
	const writers, each = 8, 10
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				name, tag := fmt.Sprintf("app-%d", w), fmt.Sprint("v", i)
				done, err := s.Root().Change(t.Context(), putTag(name, tag, name+tag))
				if err != nil || !hasTag(t, s, current(t, s), name, tag, name+tag) || !hasTag(t, s, done.State.Actions[0].Address, name, tag, name+tag) {
					t.Errorf("%s:%s is missing after it was put: %v", name, tag, err)
				}
			}
		})
	}
	group.Wait()
	actions := map[string]int{}
	all := states(t, s)
	for _, state := range all {
		for _, a := range state.Actions {
			actions[a.Name+a.Reference]++
		}
	}
	for w := range writers {
		for i := range each {
			if n := actions[fmt.Sprintf("app-%dv%d", w, i)]; n != 1 {
				t.Errorf("app-%d:v%d is in the log %d times", w, i, n)
			}
		}
	}
	if len(all) >= writers*each {
		t.Errorf("%d changes made %d states, so none were made together", writers*each, len(all))
	}
}

// A change that fails does not harm those that are made together with it.
func TestAFailedChangeBesideOthers(t *testing.T) {
	s := Open(t.TempDir())
	sorry := errors.New("sorry")
	hold, held := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_, err := s.Root().Change(t.Context(), func(ctx context.Context, d *Draft) error {
			close(held)
			<-hold
			return putTag("app", "first", "first")(ctx, d)
		})
		check(t, err)
	})
	<-held
	for i := range 10 {
		group.Go(func() {
			_, err := s.Root().Change(t.Context(), func(ctx context.Context, d *Draft) error {
				check(t, putTag("app", fmt.Sprint("v", i), fmt.Sprint(i))(ctx, d))
				if i%2 == 0 {
					return sorry
				}
				return nil
			})
			if (i%2 == 0) != errors.Is(err, sorry) {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	close(hold)
	group.Wait()
	for i := range 10 {
		if hasTag(t, s, current(t, s), "app", fmt.Sprint("v", i), fmt.Sprint(i)) != (i%2 == 1) {
			t.Errorf("change %d has the wrong result", i)
		}
	}
}

func TestChangeThatPanics(t *testing.T) {
	s := Open(t.TempDir())
	before := changed(t, s, putTag("app", "v1", "one"))
	if _, err := s.Root().Change(t.Context(), func(context.Context, *Draft) error { panic("sorry") }); err == nil || !current(t, s).Equals(before.Root) {
		t.Errorf("%v", err)
	}
	changed(t, s, putTag("app", "v2", "two"))
}

func TestRollback(t *testing.T) {
	s := Open(t.TempDir())
	first := changed(t, s, putTag("app", "v1", "one"))
	second := changed(t, s, putTag("app", "v2", "two"))
	back, err := s.Root().Rollback(t.Context(), first.Root, "bob")
	if err != nil || !back.Root.Equals(first.Root) || !current(t, s).Equals(first.Root) {
		t.Errorf("%v, and the root is %s", err, current(t, s))
	}
	if _, err := s.Root().Rollback(t.Context(), second.Root, "bob"); err != nil || !current(t, s).Equals(second.Root) {
		t.Errorf("it cannot be taken back: %v", err)
	}
	all := states(t, s)
	if len(all) != 4 || all[0].Actions[0].What != "rollback" || all[0].Actions[0].User != "bob" {
		t.Errorf("the states are %v", all)
	}
	other := fill(t, s, unixfs.V1, true)
	if _, err := s.Root().Rollback(t.Context(), other, "bob"); !errors.Is(err, ErrLacking) {
		t.Errorf("what never was a state became one: %v", err)
	}
}

// The next change mends what a killed process left at the end of the log, and until then
// nobody sees it.
func TestTornLog(t *testing.T) {
	unfinished, err := State{Root: unixfs.Block{CID: cid.MustParse("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")}.CID, Time: time.Now()}.encode()
	check(t, err)
	for name, left := range map[string]string{
		"part of a line":                       `{"time":"2026-`,
		"a line of a change that did not last": string(unfinished),
		"both":                                 string(unfinished) + `{"ti`,
		"zeros":                                strings.Repeat("\x00", 100),
		"zeros and the end of a line":          strings.Repeat("\x00", 100) + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			first := changed(t, s, putTag("app", "v1", "one"))
			log := filepath.Join(s.Dir(), "root", "log")
			whole, err := os.ReadFile(log)
			check(t, err)
			check(t, os.WriteFile(log, append(slices.Clone(whole), left...), 0o600))
			if all := states(t, s); len(all) != 1 || !all[0].Root.Equals(first.Root) {
				t.Errorf("the states are %v", all)
			}
			second := changed(t, s, putTag("app", "v2", "two"))
			if all := states(t, s); len(all) != 2 || !all[0].Root.Equals(second.Root) {
				t.Errorf("the states are %v", all)
			}
			mended, err := os.ReadFile(log)
			check(t, err)
			if !strings.HasPrefix(string(mended), string(whole)) || strings.Count(string(mended), "\n") != 2 {
				t.Errorf("the log is %q", mended)
			}
		})
	}
}

// A first change that a crash ended leaves no root.
func TestTornFirstChange(t *testing.T) {
	s := Open(t.TempDir())
	changed(t, s, putTag("app", "v1", "one"))
	check(t, os.Remove(filepath.Join(s.Dir(), "root", "current")))
	if all := states(t, s); len(all) != 0 {
		t.Errorf("the states are %v", all)
	}
	changed(t, s, putTag("app", "v2", "two"))
	if all := states(t, s); len(all) != 1 || hasTag(t, s, current(t, s), "app", "v1", "one") {
		t.Errorf("the states are %v", all)
	}
}

// A log of lines longer than what is read at a time.
func TestLogOfLongLines(t *testing.T) {
	s := Open(t.TempDir())
	for i := range 3 {
		changed(t, s, func(ctx context.Context, d *Draft) error {
			for j := range 1000 {
				d.Note(Action{What: "push", Name: "app", Reference: fmt.Sprint("v", j), User: strings.Repeat("u", 200)})
			}
			return putTag("app", "v", fmt.Sprint(i))(ctx, d)
		})
	}
	all := states(t, s)
	if len(all) != 3 || len(all[2].Actions) != 1001 {
		t.Errorf("there are %d states", len(all))
	}
}

func TestChangeWhoseCallerLeft(t *testing.T) {
	s := Open(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Root().Change(ctx, putTag("app", "v1", "one")); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left gets %v", err)
	}
	changed(t, s, putTag("app", "v2", "two"))
}

// A damaged node fails the change, and is not copied into the next state.
func TestChangeOfADamagedRoot(t *testing.T) {
	s := Open(t.TempDir())
	state := changed(t, s, putTag("app", "v1", "one"))
	check(t, os.WriteFile(s.nodePath(state.Root), []byte("rot"), 0o600))
	if _, err := s.Root().Change(t.Context(), putTag("app", "v2", "two")); !errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a change of a damaged root: %v", err)
	}
	check(t, os.WriteFile(filepath.Join(s.Dir(), "root", "current"), []byte("rot\n"), 0o600))
	if _, err := s.Root().Current(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged current: %v", err)
	}
}
