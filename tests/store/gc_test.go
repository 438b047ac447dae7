package store

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// kept returns the files of a store, without its locks and without the records, which
// have times in them.
func kept(t *testing.T, store string) map[string]string {
	t.Helper()
	files := harness.ReadTree(t, store)
	maps.DeleteFunc(files, func(name, _ string) bool {
		return strings.HasSuffix(name, "/") || strings.HasPrefix(name, "images/") || !strings.Contains(name, "/")
	})
	return files
}

// mustBeWhole pulls every byte of an image.
func mustBeWhole(t *testing.T, ref string) {
	t.Helper()
	m, _ := harness.FetchManifest(t, ref)
	for _, d := range append(m.Layers, m.Config) {
		if resp := harness.Get(t, harness.Repository(ref)+"/blobs/"+d.Digest); resp.StatusCode != http.StatusOK || harness.DigestOf([]byte(resp.Text)) != d.Digest {
			t.Errorf("%s: blob %s is answered with %d and %d bytes of another digest", ref, d.Digest, resp.StatusCode, len(resp.Text))
		}
	}
}

// After an image is removed and collected, the store is, byte for byte, as if the image
// had never been in it. Layers that another image shares stay.
func TestCollectionKeepsSharedLayers(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo")
	shared := harness.Noise(3 << 20)
	one := harness.ArchiveOfLayers(t, "one:v1", shared, "of one")
	two := harness.ArchiveOfLayers(t, "two:v1", shared, "of two")
	store, alone := t.TempDir(), t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	refOne := harness.Convert(t, one, "--store="+store, "--registry="+caddy.URL)
	refTwo := harness.Convert(t, two, "--store="+store, "--registry="+caddy.URL)
	harness.Convert(t, two, "--store="+alone)

	if got := harness.InStore(t, store, "gc"); !strings.HasPrefix(got, "removed 0 files") {
		t.Errorf("with two images in the store, gc prints %s", got)
	}
	harness.InStore(t, store, "rm", refOne)
	listed := harness.InStore(t, store, "images")
	if _, address, _ := strings.Cut(refTwo, "/"); !strings.Contains(listed, address+" ") || strings.Count(listed, "\n") != 2 {
		t.Errorf("the list should have one image, and is\n%s", listed)
	}
	mustBeWhole(t, refOne)
	_, announced, _ := strings.Cut(harness.InStore(t, store, "gc", "--dry-run"), "would remove")
	if _, removed, _ := strings.Cut(harness.InStore(t, store, "gc"), "removed"); removed == "" || removed != announced || strings.HasPrefix(removed, " 0 ") {
		t.Errorf("gc removed%s, and announced%s", removed, announced)
	}
	if got, want := kept(t, store), kept(t, alone); !maps.Equal(got, want) {
		t.Errorf("the store has %v; converted alone, the other image has %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	if status := harness.Get(t, harness.Repository(refOne)+"/manifests/latest").StatusCode; status != http.StatusNotFound {
		t.Errorf("the removed image is answered with %d", status)
	}
	mustBeWhole(t, refTwo)
	harness.PullBySkopeo(t, refTwo)
	harness.MustRefuse(t, harness.Converter(t, os.DevNull, "rm", refOne, "--store="+store), "ciq.* is not in the store")
}

// Converters, rm and gc run at the same time on one store. Every image that a converter
// reported, and that rm did not remove, is whole.
func TestCollectionBesideConversionsKeepsImages(t *testing.T) {
	harness.Parallel(t)
	const converters, rounds = 10, 2
	shared := harness.Noise(2 << 20)
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	var archives [converters][rounds]string
	for i := range archives {
		for round := range archives[i] {
			archives[i][round] = harness.ArchiveOfLayers(t, fmt.Sprintf("app-%d:v%d", i, round), shared, fmt.Sprint("of ", i, round))
		}
	}
	var (
		wg    sync.WaitGroup
		refs  [converters][]string
		ended = make(chan struct{})
		gc    = make(chan int)
	)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				gc <- n
				return
			default:
			}
			if _, stderr, err := harness.Try(harness.Converter(t, os.DevNull, "gc", "--store="+store)); err != nil {
				t.Errorf("gc: %v: %s", err, stderr)
			}
		}
	}()
	for i := range converters {
		wg.Go(func() {
			for round := range rounds {
				ref, stderr, err := harness.Try(harness.Converter(t, archives[i][round], "--store="+store, "--registry="+caddy.URL))
				if err != nil {
					t.Errorf("converting: %v: %s", err, stderr)
					continue
				}
				ref = strings.TrimSpace(ref)
				if round%2 == 1 {
					refs[i] = append(refs[i], ref)
				} else if _, stderr, err := harness.Try(harness.Converter(t, os.DevNull, "rm", ref, "--store="+store)); err != nil {
					t.Errorf("rm %s: %v: %s", ref, err, stderr)
				}
			}
		})
	}
	wg.Wait()
	close(ended)
	collections := <-gc
	harness.InStore(t, store, "gc")
	images := 0
	for _, ref := range slices.Concat(refs[:]...) {
		images++
		mustBeWhole(t, ref)
	}
	if listed := harness.InStore(t, store, "images"); strings.Count(listed, "\n") != images+1 {
		t.Errorf("the list should have %d images, and is\n%s", images, listed)
	}
	if images == 0 || collections == 0 {
		t.Errorf("%d images were kept and gc ran %d times, want at least one of each", images, collections)
	}
	t.Logf("%d conversions beside %d collections, %d images checked", converters*rounds, collections, images)
}

// A killed converter leaves files in tmp only. The next converter or gc removes them,
// and leaves alone what a running converter has there.
func TestCollectionClearsWhatKilledConvertersLeft(t *testing.T) {
	harness.Parallel(t)
	whole := []byte(harness.ReadFile(t, harness.ArchiveOfLayers(t, "app:v1", harness.Noise(3<<20), harness.Noise(2<<20))))
	store := t.TempDir()
	working := func() []string {
		dirs, err := filepath.Glob(filepath.Join(store, "tmp", "*", "blob-*"))
		if err != nil {
			t.Fatal(err)
		}
		return dirs
	}
	killed, feedKilled := convertSlowly(t, store)
	feedKilled(whole[:4<<20])
	killed.Await(t, "a blob in tmp", func() bool { return len(working()) > 0 })
	killed.Cmd.Process.Kill()
	<-killed.Ended
	rubbish := working()
	living, feed := convertSlowly(t, store) // which removes it when it starts
	feed(whole[:4<<20])
	living.Await(t, "a blob in tmp", func() bool { return len(working()) > 0 && !slices.Equal(working(), rubbish) })
	if _, err := os.Stat(rubbish[0]); err == nil {
		t.Errorf("%s, of a killed converter, is still there", rubbish[0])
	}
	for name := range kept(t, store) {
		if !strings.HasPrefix(name, "tmp/") {
			t.Errorf("the store has %s before any conversion ended", name)
		}
	}
	another, feedAnother := convertSlowly(t, store)
	feedAnother(whole[:1<<20])
	another.Await(t, "its directory in tmp", func() bool { return countDirs(t, filepath.Join(store, "tmp")) == 2 })
	another.Cmd.Process.Kill()
	<-another.Ended
	harness.InStore(t, store, "gc")
	if n := countDirs(t, filepath.Join(store, "tmp")); n != 1 {
		t.Errorf("after gc, tmp has %d directories, want that of the running converter only", n)
	}
	feed(whole[4<<20:])
	feed(nil)
	<-living.Ended
	if !strings.Contains(living.Log.String(), "/app\n") {
		t.Errorf("the converter that ran beside gc printed %s", living.Log)
	}
	if left := countDirs(t, filepath.Join(store, "tmp")); left != 0 {
		t.Errorf("at the end, tmp has %d directories", left)
	}
}

// convertSlowly starts a converter and returns a function that writes to its standard
// input, or closes that if the argument is nil.
func convertSlowly(t *testing.T, store string) (*harness.Daemon, func([]byte)) {
	t.Helper()
	harness.Need(t, "bin/converter")
	cmd := exec.Command(harness.InRepo("bin/converter"), "--store="+store)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return harness.StartDaemon(t, "converter", cmd), func(b []byte) {
		if b == nil {
			err = stdin.Close()
		} else {
			_, err = stdin.Write(b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func countDirs(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// If any file of a store rots or is lost, converting or copying the image again mends
// the store. A copy within the store cannot mend a blob, and says so.
func TestConvertingAgainMendsTheStore(t *testing.T) {
	harness.Parallel(t)
	image := harness.ArchiveOfLayers(t, "app:v1", harness.Noise(1<<20))
	store, car := t.TempDir(), filepath.Join(t.TempDir(), "app.car")
	ref := harness.Convert(t, image, "--store="+store)
	harness.Convert(t, image, "--car="+car)
	files := harness.ReadTree(t, store)
	mend := map[string]func() string{
		"convert": func() string { return harness.Convert(t, image, "--store="+store) },
		"copy":    func() string { return harness.InStore(t, store, "copy", "--from="+car) },
	}
	kinds := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, file := files[name], filepath.Join(store, name)
		if strings.HasSuffix(name, "/") || !strings.Contains(name, "/") || content == "" {
			continue
		}
		kinds[strings.SplitN(name, "/", 2)[0]] = true
		middle := len(content) / 2
		if strings.HasPrefix(name, "images/") { // whose times are not checked
			middle = strings.Index(content, "sha256:") + 10
		}
		other := content[:middle] + string([]byte{content[middle] ^ 1}) + content[middle+1:]
		for _, damaged := range []string{other, ""} {
			for by, again := range mend {
				if damaged == "" {
					if err := os.Remove(file); err != nil {
						t.Fatal(err)
					}
				} else {
					harness.WriteFile(t, file, damaged)
				}
				if got := strings.TrimSpace(again()); got != ref {
					t.Errorf("%s: %s prints %s, want %s", name, by, got, ref)
				}
				harness.MustVerify(t, ref, ref, "--store="+store)
			}
		}
		if strings.HasPrefix(name, "blobs/") && len(content) > 1<<20 {
			harness.WriteFile(t, file, other)
			harness.MustRefuse(t, harness.Converter(t, os.DevNull, "copy", ref, "--from="+store, "--store="+store), "at byte .* content is not what its")
			harness.WriteFile(t, file, content)
		}
	}
	if len(kinds) != 4 {
		t.Errorf("the store has files in %v, want four directories", kinds)
	}
}

// A client reads a blob to its end even if the image is collected meanwhile.
func TestBlobBeingReadSurvivesCollection(t *testing.T) {
	harness.Parallel(t)
	content := harness.Noise(64 << 20) // more than socket buffers hold
	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref := harness.Convert(t, harness.ArchiveOfLayers(t, "app:v1", content), "--store="+store, "--registry="+caddy.URL)
	m, _ := harness.FetchManifest(t, ref)
	resp, err := harness.NoRedirects.Get(harness.Repository(ref) + "/blobs/" + m.Layers[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := io.CopyN(&body, resp.Body, 1000); err != nil {
		t.Fatal(err)
	}
	harness.InStore(t, store, "rm", ref)
	harness.InStore(t, store, "gc")
	if left := kept(t, store); len(left) > 0 {
		t.Errorf("after gc, the store has %v", slices.Sorted(maps.Keys(left)))
	}
	if _, err := body.ReadFrom(resp.Body); err != nil || harness.DigestOf(body.Bytes()) != m.Layers[0].Digest {
		t.Errorf("the client read %d bytes of %d: %v", body.Len(), m.Layers[0].Size, err)
	}
}

// Commands that read work on a read-only store. Commands that write refuse with one line
// that gives the reason.
func TestReadOnlyStoreIsReadAndNamed(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "root", "unshare", "bin/converter")
	store := t.TempDir()
	image := harness.ArchiveOfLayers(t, "app:v1", "content")
	_, ref, _ := strings.Cut(harness.Convert(t, image, "--store="+store), "/")
	readOnly := func(args ...string) *exec.Cmd {
		const mount = `mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; exec "$@"`
		args = append([]string{"--mount", "sh", "-ec", mount, "sh", store, harness.InRepo("bin/converter")}, args...)
		return harness.WithInput(t, exec.Command("unshare", append(args, "--store="+store)...), image)
	}
	harness.MustRefuse(t, readOnly(), "read-only file system")
	harness.MustRefuse(t, readOnly("rm", ref), "read-only file system")
	if got := harness.Run(t, readOnly("images")); !strings.Contains(got, ref[:strings.IndexByte(ref, '/')]) {
		t.Errorf("images prints %s", got)
	}
	if got := harness.Run(t, readOnly("gc", "--dry-run")); !strings.HasPrefix(got, "would remove 0 files") {
		t.Errorf("gc --dry-run prints %s", got)
	}
	harness.InStore(t, store, "rm", ref)
	harness.MustRefuse(t, readOnly("gc"), "read-only file system")
	harness.InStore(t, store, "gc")
	if left := kept(t, store); len(left) > 0 {
		t.Errorf("at the end, the store has %v", slices.Sorted(maps.Keys(left)))
	}
}
