package converter

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An image stays the same wherever it is copied, and the CAR file of a copy equals that
// of the conversion.
func TestCopy(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 3<<19), testimage.Layer("b", 10)))
	for _, profile := range []unixfs.Profile{unixfs.V1, unixfs.V0} {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		want := convertTo(t, teststore.To(t, at("1")), archive, Options{Profile: profile})
		convertTo(t, teststore.ToCAR(t, at("want.car")), archive, Options{Profile: profile})

		copyTo(t, teststore.From(t, at("1")), want.Root, teststore.ToCAR(t, at("1.car")))
		copyTo(t, teststore.FromCAR(t, at("1.car")), want.Root, teststore.To(t, at("2")))
		copyTo(t, teststore.From(t, at("2")), want.Root, teststore.ToCAR(t, at("2.car")))
		for _, name := range []string{"1.car", "2.car"} {
			if !bytes.Equal(readFile(t, at(name)), readFile(t, at("want.car"))) {
				t.Errorf("%s: %s is not the CAR of the image", profile, name)
			}
		}
		if one, two := storeFiles(t, at("1")), storeFiles(t, at("2")); !slices.Equal(one, two) {
			t.Errorf("%s: the stores differ:\n%q\n%q", profile, one, two)
		}
	}
}

// A block that does not match its CID is not copied.
func TestCopyVerifies(t *testing.T) {
	dir := t.TempDir()
	car := filepath.Join(dir, "app.car")
	want := convertTo(t, teststore.ToCAR(t, car), testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 400_000))), Options{})
	whole := readFile(t, car)
	tried := 0
	for at := 64; at < len(whole); at += len(whole)/100 + 1 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		if err := os.WriteFile(car, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "store")
		err := tryCopy(t, car, want.Root, to)
		if err == nil {
			t.Fatalf("copied although byte %d is another", at)
		}
		if left := storeFiles(t, to); len(left) > 0 {
			t.Fatalf("byte %d is another, and left behind are %q", at, left)
		}
		tried++
	}
	t.Logf("%d damaged files refused", tried)
}

func tryCopy(t *testing.T, car string, root cid.Cid, to string) error {
	t.Helper()
	from, _, err := origin.FromCAR(car)
	if err != nil {
		return err
	}
	defer from.Close()
	dst := teststore.To(t, to)
	_, err = Copy(t.Context(), from, root, dst, CopyOptions{})
	return errors.Join(err, dst.Close())
}

func TestOnto(t *testing.T) {
	one := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 100), testimage.Layer("shared", 300_000)))
	two := testimage.OldDocker(testimage.New([]string{"app:2.0"}, testimage.Layer("b", 100), testimage.Layer("shared", 300_000)))
	again := testimage.OldDocker(testimage.New([]string{"app:2.0"}, testimage.Layer("c", 100)))
	other := testimage.OldDocker(testimage.New([]string{"team/other:1.0"}, testimage.Layer("d", 100)))
	dir := t.TempDir()
	said := ""
	logf := func(format string, _ ...any) { said += format + "\n" }
	root := convertTo(t, teststore.To(t, dir), one, Options{}).Root
	onto := func(archive []byte) *Result {
		r := convertTo(t, teststore.To(t, dir), archive, Options{Onto: &Base{teststore.From(t, dir), root}, Logf: logf})
		root = r.Root
		return r
	}
	result := onto(two)
	if references, _ := result.References("h"); !strings.HasSuffix(references[0], "/app:2.0") {
		t.Errorf("the reference is %q", references)
	}
	checkNames(t, dir, root, "app:1.0", "app:2.0")
	first := root

	onto(again)
	if !strings.Contains(said, "moves from") {
		t.Errorf("a tag has moved, and said was %q", said)
	}
	checkNames(t, dir, root, "app:1.0", "app:2.0", "app:") // the last is what 2.0 was
	onto(other)
	checkNames(t, dir, root, "app:1.0", "app:2.0", "app:", "team/other:1.0")

	// The order of adding does not matter, nor does copying instead of converting.
	dir = t.TempDir()
	root = convertTo(t, teststore.To(t, dir), two, Options{}).Root
	if onto(one); root != first {
		t.Errorf("the other way round the root is %s, and was %s", root, first)
	}
	elsewhere := t.TempDir()
	alone := convertTo(t, teststore.To(t, elsewhere), one, Options{}).Root
	root = convertTo(t, teststore.To(t, dir), two, Options{}).Root
	r, err := Copy(t.Context(), teststore.From(t, elsewhere), alone, teststore.To(t, dir), CopyOptions{Onto: &Base{teststore.From(t, dir), root}})
	if err != nil || r.Root != first {
		t.Errorf("copied, the root is %v, %v; want %s", r, err, first)
	}
}

// A tag latest stays. An alias latest is dropped when it could mean two images.
func TestOntoKnowsAliases(t *testing.T) {
	image := func(tags ...string) []byte {
		return testimage.OldDocker(testimage.New(tags, testimage.Layer(tags[0], 100)))
	}
	for _, test := range []struct {
		before, after []byte
		latest        bool
	}{
		{image("app:1"), image("app:2"), false},
		{image("app:latest"), image("app:2"), true},
		{image("app:1"), image("app:latest"), true},
		{image("app:1"), image("other:2"), true},
	} {
		dir := t.TempDir()
		root := convertTo(t, teststore.To(t, dir), test.before, Options{}).Root
		root = convertTo(t, teststore.To(t, dir), test.after, Options{Onto: &Base{teststore.From(t, dir), root}}).Root
		_, err := layout.FindManifest(t.Context(), store.Open(dir), layout.Image{Root: root, Name: "app"}, layout.Latest)
		if (err == nil) != test.latest {
			t.Errorf("app has the name latest: %v; want %v", err, test.latest)
		}
	}
}

func checkNames(t *testing.T, dir string, root cid.Cid, want ...string) {
	t.Helper()
	images, err := teststore.From(t, dir).Images(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, img := range images {
		got = append(got, img.Name+":"+img.Tag)
		m, err := layout.FindManifest(t.Context(), store.Open(dir), layout.Image{Root: root, Name: img.Name}, img.Digest.String())
		if err != nil || int64(len(m.Data)) != img.Size {
			t.Errorf("%s:%s is not served: %v", img.Name, img.Tag, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
}

func convertTo(t *testing.T, dst Destination, archive []byte, o Options) *Result {
	t.Helper()
	result, err := Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, o)
	if err := errors.Join(err, dst.Close()); err != nil {
		t.Fatal(err)
	}
	return result
}

func copyTo(t *testing.T, from origin.Origin, root cid.Cid, dst Destination) {
	t.Helper()
	result, err := Copy(t.Context(), from, root, dst, CopyOptions{})
	if err := errors.Join(err, dst.Close()); err != nil {
		t.Fatal(err)
	}
	if result.Root != root {
		t.Errorf("the root of the copy is %s, want %s", result.Root, root)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// storeFiles returns the files of a store, except its locks.
func storeFiles(t *testing.T, dir string) []string {
	t.Helper()
	return slices.DeleteFunc(files(t, dir), func(path string) bool { return !strings.Contains(path, "/") })
}
