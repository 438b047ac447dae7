package unixfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// A tree is a directory tree that is edited, and the files that it must have.
type tree struct {
	p      Profile
	root   cid.Cid
	files  map[string]Node
	blocks blockMap

	read, written struct{ blocks, bytes int }
}

func newTree(p Profile) *tree {
	return &tree{p: p, files: map[string]Node{}, blocks: blockMap{}}
}

// edit makes changes, and compares the root with the one that boxo makes of the files.
func (tr *tree) edit(t *testing.T, changes map[string]*Node) {
	t.Helper()
	tr.change(t, changes)
	want := boxoTree(t, tr.p, tr.files)
	if got := tr.change(t, nil); got != want {
		t.Fatalf("%s: after %d changes the root is %v, want %v of %d files", tr.p, len(changes), got, want, len(tr.files))
	}
}

func (tr *tree) change(t *testing.T, changes map[string]*Node) Node {
	t.Helper()
	get := func(ctx context.Context, c cid.Cid) ([]byte, error) {
		data, err := tr.blocks.get(ctx, c)
		tr.read.blocks++
		tr.read.bytes += len(data)
		return data, err
	}
	n, err := tr.p.Edit(t.Context(), get, tr.root, changes, func(b Block) error {
		tr.written.blocks++
		tr.written.bytes += len(b.Data)
		return tr.blocks.put(b)
	})
	check(t, err)
	tr.root = n.CID
	for _, path := range slices.Sorted(maps.Keys(changes)) {
		_, isFile := tr.files[path]
		switch n := changes[path]; {
		case n != nil:
			tr.files[path] = *n
		case isFile:
			delete(tr.files, path)
		default:
			maps.DeleteFunc(tr.files, func(file string, _ Node) bool { return strings.HasPrefix(file, path+"/") })
		}
	}
	return n
}

// aNode returns a node that stands for a file, of a size of any number of digits.
func aNode(r *rand.Rand) Node {
	return Node{layOutOne(fmt.Sprint(r.Uint32())), r.Uint64() >> (8 + r.IntN(56))}
}

// colliding returns names of which many have the first bits of their hashes in common.
func colliding() []string {
	var names []string
	first := map[nameHash]string{}
	for i := 0; len(names) < 60; i++ {
		name := fmt.Sprintf("sha256:%d", i)
		bits := hashName([]byte(name)) >> (64 - 28)
		if other, ok := first[bits]; ok {
			names = append(names, other, name)
		}
		first[bits] = name
	}
	return names
}

// profilesOfAnySize are the profiles, with limits that few or many names exceed.
func profilesOfAnySize() []Profile {
	var all []Profile
	for _, p := range []Profile{V0, V1} {
		all = append(all, small(p))
		for _, limit := range []int{300, 1500, 4000} {
			p.params.HAMTShardingSize = limit
			all = append(all, p)
			p.params.HAMTShardWidth = 16
		}
	}
	return all
}

func TestEditedTreeIsTheTreeOfItsFiles(t *testing.T) {
	same := colliding()
	for i, p := range profilesOfAnySize() {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		tr := newTree(p)
		dirs := []string{"", "a/", "a/b/", "c/d/e/f/", "a/b/c/", "g/"}
		name := func() string {
			base := fmt.Sprintf("file-%d", r.IntN(40))
			if r.IntN(2) == 0 {
				base = same[r.IntN(len(same))]
			}
			return dirs[r.IntN(len(dirs))] + base
		}
		for round := range 120 {
			growing := round/15%2 == 0
			changes := map[string]*Node{}
			for range 1 + r.IntN(12) {
				if n := aNode(r); growing || r.IntN(4) == 0 {
					changes[name()] = &n
				} else {
					changes[name()] = nil
				}
			}
			if r.IntN(12) == 0 { // a whole directory, perhaps with new files in it
				changes[strings.TrimSuffix(dirs[1+r.IntN(len(dirs)-1)], "/")] = nil
			}
			tr.edit(t, changes)
		}
		for path := range tr.files {
			if c, err := Walk(t.Context(), tr.blocks.get, tr.root, path); err != nil || c != tr.files[path].CID {
				t.Fatalf("%s: %s is %s, %v", p, path, c, err)
			}
		}
		for len(tr.files) > 0 {
			changes := map[string]*Node{}
			for file := range tr.files {
				if changes[file] = nil; len(changes) == 5 {
					break
				}
			}
			tr.edit(t, changes)
		}
	}
}

// With the real limits, thousands of names make a directory sharded, and removing them
// makes it one node again.
func TestDirectoryIsShardedBothWaysAtTheSameSize(t *testing.T) {
	for _, p := range []Profile{V0, V1} {
		r := rand.New(rand.NewPCG(1, 2))
		tr := newTree(p)
		var names []string
		add := func(n int) {
			changes := map[string]*Node{}
			for range n {
				name := fmt.Sprintf("many/sha256:%064x", len(names))
				names = append(names, name)
				n := aNode(r)
				changes[name] = &n
			}
			tr.edit(t, changes)
		}
		remove := func(n int) {
			changes := map[string]*Node{}
			for _, name := range names[len(names)-n:] {
				changes[name] = nil
			}
			names = names[:len(names)-n]
			tr.edit(t, changes)
		}
		add(1500)
		sharded := func() bool {
			dir, err := Walk(t.Context(), tr.blocks.get, tr.root, "many")
			check(t, err)
			d, err := p.readDirectory(t.Context(), tr.blocks.get, dir)
			check(t, err)
			return d.trie != nil
		}
		for step := 512; step > 0; step /= 2 {
			if sharded() {
				remove(step)
			} else {
				add(step)
			}
		}
		for range 3 {
			add(1)
		}
		if !sharded() {
			t.Errorf("%s: %d names are not sharded", p, len(names))
		}
		remove(6)
		if sharded() {
			t.Errorf("%s: %d names are sharded", p, len(names))
		}
		add(2000)
		remove(2500)
	}
}

// The size of an entry's DAG counts, too, where a profile measures the block.
func TestShrinkingEntriesMakeOneNodeOfAShardedDirectory(t *testing.T) {
	p := V1
	p.params.HAMTShardingSize = 2000
	for _, batch := range []int{1, 30} {
		tr := newTree(p)
		large, small := Node{layOutOne("large"), 1 << 60}, Node{layOutOne("small"), 1}
		for i := range 35 {
			tr.edit(t, map[string]*Node{fmt.Sprintf("file-%02d", i): &large})
		}
		changes := map[string]*Node{"one more": &large}
		for i := range 35 {
			changes[fmt.Sprintf("file-%02d", i)] = &small
			if len(changes) >= batch {
				tr.edit(t, changes)
				changes = map[string]*Node{}
			}
		}
		tr.edit(t, changes)
	}
}

func TestEditOfAnyBatchesGivesTheSameRoot(t *testing.T) {
	for i, p := range profilesOfAnySize() {
		r := rand.New(rand.NewPCG(uint64(i), 3))
		all := map[string]*Node{}
		for i := range 90 {
			n := aNode(r)
			all[fmt.Sprintf("dir-%d/%d", i%3, i)] = &n
		}
		whole := newTree(p)
		whole.edit(t, all)
		parts := newTree(p)
		paths := slices.Sorted(maps.Keys(all))
		r.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		for part := range slices.Chunk(paths, 7) {
			changes := map[string]*Node{}
			for _, path := range part {
				changes[path] = all[path]
			}
			parts.change(t, changes)
		}
		if whole.root != parts.root {
			t.Errorf("%s: the root is %s at once, and %s in parts", p, whole.root, parts.root)
		}
	}
}

// A registry with 10,000 repositories of 10 tags. Each image has a manifest, which is
// there twice, a config and a layer.
func TestOneChangeOfALargeTreeIsCheap(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	digest := func() string { return fmt.Sprintf("sha256:%064x", r.Uint64()) }
	for _, large := range []struct{ name, place string }{
		{"in teams of 100", "team-%d/app-%d"},
		{"in the root", "app-%[2]d"},
	} {
		tr := newTree(V1)
		images := map[string]*Node{}
		for tag := range 10 {
			manifest, config, layer := aNode(r), aNode(r), aNode(r)
			images[fmt.Sprintf("manifests/1.%d", tag)], images["manifests/"+digest()] = &manifest, &manifest
			images["blobs/"+digest()], images["blobs/"+digest()] = &config, &layer
		}
		repository := tr.change(t, images)
		tr.root = cid.Undef
		all := map[string]*Node{}
		name := func(i int) string { return fmt.Sprintf(large.place, i%100, i) }
		for i := range 10_000 {
			all[name(i)] = &repository
		}
		tr.change(t, all)
		manifest := aNode(r)
		for _, test := range []struct {
			name    string
			changes map[string]*Node
		}{
			{"pushing a tag", map[string]*Node{name(7777) + "/manifests/1.3": &manifest, name(7777) + "/manifests/" + digest(): &manifest}},
			{"removing a tag", map[string]*Node{name(7777) + "/manifests/1.4": nil}},
			{"removing a repository", map[string]*Node{name(6677): nil}},
		} {
			tr.read, tr.written = tree{}.read, tree{}.written
			tr.change(t, test.changes)
			t.Logf("10,000 repositories %s, %s: %d blocks and %d bytes read, %d blocks and %d bytes written",
				large.name, test.name, tr.read.blocks, tr.read.bytes, tr.written.blocks, tr.written.bytes)
			if tr.written.bytes > 64<<10 || tr.written.blocks > 8 || tr.read.bytes > 400<<10 {
				t.Errorf("10,000 repositories %s: %s is expensive", large.name, test.name)
			}
		}
	}
}

func TestEditRefusesWhatIsNoTree(t *testing.T) {
	n := Node{layOutOne("a file"), 6}
	file := build(t, V0, []byte("a file of a node"))
	tr := newTree(V1)
	check(t, tr.blocks.put(file.Table.Block(0, []byte("a file of a node"))))
	tr.change(t, map[string]*Node{"a/b": &n, "a/c": {file.CID, 1}})
	for _, test := range []struct {
		changes map[string]*Node
		want    error
	}{
		{map[string]*Node{"a/b/c": &n}, ErrNotDirectory},
		{map[string]*Node{"a/c/d": &n}, ErrNotDirectory},
		{map[string]*Node{"x": &n, "x/y": &n}, nil},
		{map[string]*Node{"x": &n, "x/y": nil}, nil},
		{map[string]*Node{"x": {}}, nil},
		{map[string]*Node{"": &n}, nil},
		{map[string]*Node{".": &n}, nil},
		{map[string]*Node{"x/../y": &n}, nil},
		{map[string]*Node{"x//y": &n}, nil},
		{map[string]*Node{"/x": &n}, nil},
		{map[string]*Node{"x/": nil}, nil},
	} {
		_, err := V1.Edit(t.Context(), tr.blocks.get, tr.root, test.changes, func(b Block) error {
			t.Errorf("%v: %s is written", test.changes, b.CID)
			return nil
		})
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%v: %v, want an error: %v", test.changes, err, test.want)
		}
	}
}

func TestEditEndsWithItsContext(t *testing.T) {
	n := Node{layOutOne("a file"), 6}
	tr := newTree(small(V1))
	tr.change(t, map[string]*Node{"a/b/c": &n, "a/b/d": &n})
	left := errors.New("the client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	get := func(_ context.Context, c cid.Cid) ([]byte, error) {
		cancel(left)
		return tr.blocks.get(context.Background(), c)
	}
	if _, err := tr.p.Edit(ctx, get, tr.root, map[string]*Node{"a/b/c": nil}, tr.blocks.put); !errors.Is(err, left) {
		t.Error(err)
	}
}

func TestEditStopsAtAFullDisk(t *testing.T) {
	full := errors.New("the disk is full")
	for _, p := range []Profile{V1, small(V1)} {
		files := map[string]Node{"a/b": {layOutOne("a"), 1}, "a/c": {layOutOne("b"), 1}, "a/d": {layOutOne("c"), 1}}
		if _, err := p.Tree(t.Context(), files, func(Block) error { return full }); !errors.Is(err, full) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestEditOfHostileShardsCostsLittle(t *testing.T) {
	blocks := blockMap{}
	nested := shardOf(t, blocks, full(0))
	for range 30 {
		var links []*ipld.Link
		for i := range 256 {
			links = append(links, &ipld.Link{Name: fmt.Sprintf("%02X", i), Cid: nested})
		}
		nested = shardOf(t, blocks, full(256), links...)
	}
	asked := 0
	get := func(ctx context.Context, c cid.Cid) ([]byte, error) {
		asked++
		return blocks.get(ctx, c)
	}
	n := Node{layOutOne("a file"), 6}
	if _, err := V1.Edit(t.Context(), get, nested, map[string]*Node{"x": &n}, blocks.put); err == nil || asked > 10 {
		t.Errorf("a directory deeper than a hash: %v after %d blocks", err, asked)
	}
	other := shardOf(t, blocks, full(1), &ipld.Link{Name: "00the wrong place", Cid: n.CID})
	if _, err := V1.Edit(t.Context(), get, other, map[string]*Node{"x": &n}, blocks.put); err == nil {
		t.Error("an entry where no look-up finds it is accepted")
	}
	if _, err := small(V1).Edit(t.Context(), get, shardOf(t, blocks, full(0)), map[string]*Node{"x": &n}, blocks.put); err == nil {
		t.Error("another fanout is accepted")
	}
}
