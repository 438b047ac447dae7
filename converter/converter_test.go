package converter

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// convert converts an archive into a new store and returns that too.
func convert(t *testing.T, archive []byte) (*Result, *store.Store) {
	t.Helper()
	dir := t.TempDir()
	result, err := tryConvert(t, dir, bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return result, store.Open(dir)
}

func tryConvert(t *testing.T, dir string, archive io.Reader) (*Result, error) {
	t.Helper()
	dst, err := destination.ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	return Convert(t.Context(), source.FromArchive(archive), dst, Options{Logf: t.Logf})
}

func TestEveryArchiveOfAnImageHasOneRoot(t *testing.T) {
	layer := testimage.Layer("bin/app", 3<<20)
	img := testimage.New([]string{"registry.example/team/app:1.0"}, layer, testimage.Layer("etc/conf", 10), layer)
	old, s := convert(t, testimage.OldDocker(img))
	recent, _ := convert(t, testimage.NewDocker(img))
	if old.Root != recent.Root {
		t.Errorf("the root is %s from an old archive and %s from a recent one", old.Root, recent.Root)
	}
	checkImage(t, s, old, img)
}

// checkImage pulls an image whose manifest the converter wrote, as a client would, and
// compares it with what was saved.
func checkImage(t *testing.T, s *store.Store, result *Result, want testimage.Image) {
	t.Helper()
	img := layout.Image{Root: result.Root, Name: result.Images[0].Name}
	m, err := layout.FindManifest(t.Context(), s, img, layout.Latest)
	if err != nil {
		t.Fatal(err)
	}
	if m.MediaType != layout.DockerManifest || m.Digest != result.Images[0].Digest {
		t.Errorf("latest is %s, %s; want %s, %s", m.Digest, m.MediaType, result.Images[0].Digest, layout.DockerManifest)
	}
	if again, err := layout.FindManifest(t.Context(), s, img, m.Digest.String()); err != nil || !bytes.Equal(again.Data, m.Data) {
		t.Errorf("the manifest by digest is another: %v", err)
	}
	var manifest v1.Manifest
	unmarshal(t, m.Data, &manifest)
	if config := readBlob(t, s, img, manifest.Config); !bytes.Equal(config, want.Config) {
		t.Error("the config has changed")
	}
	if len(manifest.Layers) != len(want.Layers) {
		t.Fatalf("%d layers, want %d", len(manifest.Layers), len(want.Layers))
	}
	for i, d := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(readBlob(t, s, img, d)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want.Layers[i]) {
			t.Errorf("layer %d is not what was saved: %v", i, err)
		}
	}
}

// readBlob reads a blob, which must match its descriptor.
func readBlob(t *testing.T, s *store.Store, img layout.Image, d v1.Descriptor) []byte {
	t.Helper()
	f, err := s.Open(t.Context(), img.Root, layout.BlobPath(img.Name, d.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if digest.FromBytes(data) != d.Digest || int64(len(data)) != d.Size || f.Digest != d.Digest || f.Size != d.Size {
		t.Errorf("blob %s of %d bytes is stored as %s of %d", d.Digest, d.Size, f.Digest, f.Size)
	}
	return data
}

// One pass is enough for entries in any order.
func TestOrderDoesNotMatter(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 100_000), testimage.Layer("b", 10))
	want, _ := convert(t, testimage.NewDocker(img))
	for seed := range 5 {
		got, _ := convert(t, shuffled(t, testimage.NewDocker(img), uint64(seed)))
		if got.Root != want.Root {
			t.Errorf("order %d gives %s, want %s", seed, got.Root, want.Root)
		}
	}
}

// An index that is known elsewhere by its digest keeps its bytes, and so does
// everything that it names and that is present.
func TestIndexKeepsItsBytes(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 100_000))
	archive, index := testimage.ContainerdDocker(img)
	result, s := convert(t, archive)
	at := layout.Image{Root: result.Root, Name: "app"}
	for _, reference := range []string{"1.0", "latest", digest.FromBytes(index).String()} {
		m, err := layout.FindManifest(t.Context(), s, at, reference)
		if err != nil || !bytes.Equal(m.Data, index) || m.MediaType != v1.MediaTypeImageIndex {
			t.Fatalf("%s is %s of type %s, %v; want the index", reference, m.Digest, m.MediaType, err)
		}
	}
	var fields v1.Index
	unmarshal(t, index, &fields)
	m, err := layout.FindManifest(t.Context(), s, at, fields.Manifests[0].Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.Manifest
	unmarshal(t, m.Data, &manifest)
	if layer := readBlob(t, s, at, manifest.Layers[0]); !bytes.Equal(layer, testimage.Gzipped(img.Layers[0])) {
		t.Error("a compressed layer has changed")
	}
}

// A plain tar stays plain where a manifest that is known elsewhere names it.
func TestPlainLayersOfAnIndexStayPlain(t *testing.T) {
	img := testimage.New(nil, testimage.Layer("a", 100_000))
	inner := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig, img.Layers[0])
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(inner))}}
	index.SchemaVersion = 2
	tb := new(testimage.Tarball).Blob(img.Config).Blob(img.Layers[0]).Blob(testimage.Marshal(inner))
	top := v1.Index{Manifests: tb.Named(v1.MediaTypeImageIndex, testimage.Marshal(index), []string{"app:1.0"})}
	result, s := convert(t, tb.File(ocilayout.Index, testimage.Marshal(top)).Close())
	if got := readBlob(t, s, layout.Image{Root: result.Root, Name: "app"}, inner.Layers[0]); !bytes.Equal(got, img.Layers[0]) {
		t.Error("the layer has changed")
	}
}

func TestReferences(t *testing.T) {
	one := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 10))
	two := testimage.New([]string{"app:2.0", "quay.io/team/other:2.0"}, testimage.Layer("b", 10))
	untagged := testimage.New(nil, testimage.Layer("c", 10))
	for _, test := range []struct {
		images []testimage.Image
		want   []string // after the address
	}{
		{[]testimage.Image{one}, []string{"/app"}},
		{[]testimage.Image{untagged}, []string{""}},
		{[]testimage.Image{one, two}, []string{"/app:1.0", "/app:2.0", "/team/other:2.0"}},
		{[]testimage.Image{one, one}, []string{"/app"}},
	} {
		result, _ := convert(t, testimage.OldDocker(test.images...))
		references, err := result.References("localhost:5000")
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range references {
			const address = len("localhost:5000/") + 55
			references[i] = r[address:]
		}
		if !slices.Equal(references, test.want) {
			t.Errorf("references are %q, want %q", references, test.want)
		}
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]ref{
		"nginx":                        {"nginx", "latest"},
		"nginx:1.27":                   {"nginx", "1.27"},
		"docker.io/library/nginx:1.27": {"nginx", "1.27"},
		"docker.io/team/app:1":         {"team/app", "1"},
		"ghcr.io/team/app:1":           {"team/app", "1"},
		"localhost/app:1":              {"app", "1"},
		"localhost:5000/a/b/c:1":       {"a/b/c", "1"},
		"localhost:5000/ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi/app:1": {"app", "1"},
		"localhost:5000/ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi:1":     {"", "1"},
	} {
		if got, err := parseRef(s); err != nil || got != want {
			t.Errorf("parseRef(%q) = %q, %v; want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"", "App:1", "app:-"} {
		if got, err := parseRef(s); err == nil {
			t.Errorf("parseRef(%q) = %q, want an error", s, got)
		}
	}
	for _, r := range []ref{{"app/blobs", "1"}, {"manifests", ""}, {"App", ""}, {"app", ".1"}, {strings.Repeat("a", layout.MaxImageName+1), ""}} {
		if err := checkRef(r); err == nil {
			t.Errorf("%q is accepted", r)
		}
	}
	for _, r := range []ref{{}, {"app", ""}, {"", "1"}, {strings.Repeat("a", layout.MaxImageName), "1"}} {
		if err := checkRef(r); err != nil {
			t.Error(err)
		}
	}
}

func TestRename(t *testing.T) {
	one, two := testimage.New([]string{"app/blobs:1", "b:2"}, testimage.Layer("a", 10)), testimage.New([]string{"c:3"}, testimage.Layer("b", 10))
	named := func(names ...string) testimage.Image { return testimage.New(names, testimage.Layer("a", 10)) }
	reserved, long, capitals, noTag := named("app/blobs:1"), named(strings.Repeat("a", 220)+":1"), named("bazel/App:V1"), named("App")
	for _, test := range []struct {
		images    []testimage.Image
		name, tag string
		want      ref
		err       string
	}{
		{[]testimage.Image{one}, "team/app", "", ref{"team/app", "1"}, ""},
		{[]testimage.Image{two}, "", "4", ref{"c", "4"}, ""},
		{[]testimage.Image{one}, "team/app", "5", ref{"team/app", "5"}, ""},
		{[]testimage.Image{two}, "Team", "", ref{}, "not a valid image name"},
		{[]testimage.Image{one, two}, "app", "", ref{}, "several images"},
		{[]testimage.Image{one}, "", "", ref{"b", "2"}, ""},
		{[]testimage.Image{reserved}, "", "", ref{}, `image name "app/blobs:1"`},
		{[]testimage.Image{reserved}, "", "2", ref{}, `image name "app/blobs:1"`},
		{[]testimage.Image{reserved}, "team/app", "", ref{"team/app", "1"}, ""},
		{[]testimage.Image{long}, "", "2", ref{}, "fit below an address"},
		{[]testimage.Image{capitals}, "", "", ref{}, "App"},
		{[]testimage.Image{capitals}, "", "2", ref{}, "App"},
		{[]testimage.Image{capitals}, "app", "", ref{"app", "V1"}, ""},
		{[]testimage.Image{capitals}, "app", "2", ref{"app", "2"}, ""},
		{[]testimage.Image{noTag}, "app", "", ref{}, "App"},
	} {
		dst, err := destination.ToStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		result, err := Convert(t.Context(), source.FromArchive(bytes.NewReader(testimage.OldDocker(test.images...))), dst, Options{Name: test.name, Tag: test.tag})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q, %q: the error is %v, want %q", test.name, test.tag, err, test.err)
			}
			continue
		}
		if err != nil || len(result.Images) != 1 || (ref{result.Images[0].Name, result.Images[0].Tag}) != test.want {
			t.Errorf("%q, %q: %v, %v; want %v", test.name, test.tag, result, err, test.want)
		}
	}
}

func TestBadArchives(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 100_000))
	good := testimage.OldDocker(img)
	config := testimage.HexOf(img.Config) + ".json"
	list := func(e ocilayout.DockerEntry) []byte { return testimage.Marshal([]ocilayout.DockerEntry{e}) }
	layered := func() *testimage.Tarball {
		return new(testimage.Tarball).File("l/layer.tar", img.Layers[0]).File(config, img.Config)
	}
	for name, test := range map[string]struct {
		archive []byte
		want    string // in the error
	}{
		"empty":          {nil, "the input is empty"},
		"a word":         {[]byte("Error: No such image: nginx\n"), "no image archive"},
		"no archive":     {[]byte(strings.Repeat("this is not a tar", 100)), "no image archive"},
		"other tar":      {new(testimage.Tarball).File("readme", []byte("hello")).Close(), "no image archive"},
		"truncated":      {good[:len(good)/2], `the archive ends early, in "`},
		"outside":        {new(testimage.Tarball).File("../x", nil).Close(), "no image archive"},
		"absolute":       {new(testimage.Tarball).File("/etc/passwd", nil).Close(), "no image archive"},
		"link outside":   {layered().Symlink("a", "../../x").File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: "a"})).Close(), "leads out of the archive"},
		"absolute link":  {layered().Symlink("a", "/etc/passwd").File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: "a"})).Close(), "leads out of the archive"},
		"link loop":      {layered().Symlink("a", "b").Symlink("b", "a").File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: "a"})).Close(), `config "a" is not in the archive`},
		"missing config": {layered().File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: "x.json"})).Close(), `config "x.json" is not in the archive`},
		"missing layer":  {layered().File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: config, Layers: []string{"m/layer.tar"}})).Close(), `layer "m/layer.tar" is not in the archive`},
		"too few layers": {layered().File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: config})).Close(), "has 1 layers, and the manifest 0"},
		"wrong diff_id": {
			layered().File("l/layer.tar", testimage.Layer("b", 10)).File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: config, Layers: []string{"l/layer.tar"}})).Close(),
			"and the config says " + digest.FromBytes(img.Layers[0]).String(),
		},
		"not JSON":       {layered().File(ocilayout.DockerList, []byte("hello")).Close(), "reading manifest.json"},
		"long JSON":      {new(testimage.Tarball).File(ocilayout.DockerList, make([]byte, layout.MaxManifest+1)).Close(), "manifest.json"},
		"no image":       {new(testimage.Tarball).File(ocilayout.DockerList, []byte("[]")).Close(), "holds no image"},
		"bad name":       {testimage.OldDocker(testimage.New([]string{"app/blobs:1"}, img.Layers[0])), "is not a valid image name here"},
		"two of a name":  {testimage.OldDocker(img, testimage.New([]string{"app:1.0"}, testimage.Layer("b", 10))), "names two different images"},
		"bad config":     {new(testimage.Tarball).File("c.json", []byte("{")).File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: "c.json"})).Close(), "config c.json: it is not the config of an image"},
		"lying blob":     {new(testimage.Tarball).File(ocilayout.Index, testimage.Marshal(v1.Index{Manifests: []v1.Descriptor{testimage.Describe("", []byte("x"))}})).File(testimage.BlobName([]byte("x")), []byte("{}")).Close(), "has the digest"},
		"broken gzip":    {layered().File("l/layer.tar", testimage.Gzipped(img.Layers[0])[:5000]).File(ocilayout.DockerList, list(ocilayout.DockerEntry{Config: config, Layers: []string{"l/layer.tar"}})).Close(), "does not decompress"},
		"unknown digest": {new(testimage.Tarball).File(ocilayout.Index, []byte(`{"manifests":[{"digest":"md5:00"}]}`)).Close(), "md5"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := tryConvert(t, dir, bytes.NewReader(test.archive))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v; want one line with %q", err, test.want)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// An archive that is cut off, at any byte, is refused.
func TestTruncatedAnywhere(t *testing.T) {
	good := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 5000)))
	needed := bytes.LastIndex(good, []byte(`"Layers"`)) // in the list, which stands last
	tried := 0
	for n := 0; n < needed; n += 97 {
		dir := t.TempDir()
		if _, err := tryConvert(t, dir, bytes.NewReader(good[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for an image", n, len(good))
		}
		tried++
	}
	t.Logf("%d lengths refused", tried)
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	dir := t.TempDir()
	dst, err := destination.ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	never, w := io.Pipe()
	defer w.Close()
	cause := errors.New("enough")
	cancel(cause)
	if _, err := Convert(ctx, source.FromArchive(never), dst, Options{}); !errors.Is(err, cause) {
		t.Errorf("a cancelled conversion ends with %v, want %v", err, cause)
	}
}

// files lists the files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if path == "." && errors.Is(err, fs.ErrNotExist) {
			return nil // an empty store was removed
		}
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func unmarshal(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

// A converted image that is pulled, and saved again with its layers compressed, has the
// same leaves.
func TestOurLayersAreCutAsBefore(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(1))
	result, s := convert(t, testimage.OldDocker(img))
	at := layout.Image{Root: result.Root, Name: "app"}
	m, err := layout.FindManifest(t.Context(), s, at, layout.Latest)
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.Manifest
	unmarshal(t, m.Data, &manifest)
	layer := readBlob(t, s, at, manifest.Layers[0])

	tb := new(testimage.Tarball).Blob(img.Config).Blob(layer)
	top := v1.Index{Manifests: tb.Named(layout.DockerManifest, m.Data, img.RepoTags)}
	again, _ := convert(t, tb.File(ocilayout.Index, testimage.Marshal(top)).Close())
	if again.Root != result.Root {
		t.Errorf("the root is %s, and was %s", again.Root, result.Root)
	}
}

// A signature is found by its subject, under the same name, and is not listed as an
// image of its own.
func TestReferrers(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 1000))
	z := testimage.Gzipped(img.Layers[0])
	m := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig, z)
	subject := testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
	tb := new(testimage.Tarball).Blob(img.Config).Blob(z)
	index := v1.Index{Manifests: tb.Named(v1.MediaTypeImageManifest, testimage.Marshal(m), img.RepoTags)}
	signs := map[digest.Digest]digest.Digest{}
	for _, text := range []string{"signature", "signature of the signature"} {
		s := v1.Manifest{
			MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/x.signature", Subject: &subject,
			Config: testimage.Describe(v1.MediaTypeEmptyJSON, []byte("{}")), Layers: []v1.Descriptor{testimage.Describe("text/plain", []byte(text))},
		}
		s.SchemaVersion = 2
		tb.Blob([]byte("{}")).Blob([]byte(text))
		signs[digest.FromBytes(testimage.Marshal(s))] = subject.Digest
		index.Manifests = append(index.Manifests, tb.Named(v1.MediaTypeImageManifest, testimage.Marshal(s), nil)...)
		subject = testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(s))
	}
	result, s := convert(t, tb.File(ocilayout.Index, testimage.Marshal(index)).Close())
	if len(result.Images) != 1 {
		t.Errorf("there are %d images, want 1: %v", len(result.Images), result.Images)
	}
	at := layout.Image{Root: result.Root, Name: "app"}
	for signature, signed := range signs {
		data, err := s.ReadFile(t.Context(), at.Root, layout.ReferrersPath("app", signed), layout.MaxManifest)
		if err != nil {
			t.Fatal(err)
		}
		var found v1.Index
		unmarshal(t, data, &found)
		if len(found.Manifests) != 1 || found.Manifests[0].Digest != signature || found.Manifests[0].ArtifactType != "application/x.signature" {
			t.Errorf("of %s there is %s, want %s", signed, data, signature)
		}
		if _, err := layout.FindManifest(t.Context(), s, at, signature.String()); err != nil {
			t.Error(err)
		}
	}
}

// A manifest of plain tars is written anew, unless another document names it by its
// digest.
func TestSubjectKeepsItsBytes(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 1000))
	m := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig, img.Layers[0])
	subject := testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
	signature := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Subject: &subject, Config: testimage.Describe(v1.MediaTypeEmptyJSON, []byte("{}"))}
	signature.SchemaVersion = 2
	for signed, want := range map[bool]string{false: layout.DockerManifest, true: v1.MediaTypeImageManifest} {
		tb := new(testimage.Tarball).Blob(img.Config).Blob(img.Layers[0]).Blob([]byte("{}"))
		index := v1.Index{Manifests: tb.Named(v1.MediaTypeImageManifest, testimage.Marshal(m), img.RepoTags)}
		if signed {
			index.Manifests = append(index.Manifests, tb.Named(v1.MediaTypeImageManifest, testimage.Marshal(signature), nil)...)
		}
		result, _ := convert(t, tb.File(ocilayout.Index, testimage.Marshal(index)).Close())
		if got := result.Images[0].MediaType; got != want {
			t.Errorf("signed %t: the manifest is %s, want %s", signed, got, want)
		}
		if kept := result.Images[0].Digest == subject.Digest; kept != signed {
			t.Errorf("signed %t: the manifest has the digest %s, and had %s", signed, result.Images[0].Digest, subject.Digest)
		}
	}
}

// An index that many others name is read once.
func TestNestedIndexes(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 1000))
	z := testimage.Gzipped(img.Layers[0])
	m := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig, z)
	for depth, want := range map[int]string{1: "", 2: "", manifest.MaxNesting: "", manifest.MaxNesting + 1: "name one another", 30: "name one another"} {
		tb := new(testimage.Tarball).Blob(img.Config).Blob(z).Blob(testimage.Marshal(m))
		inner := testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m))
		var data []byte
		for range depth {
			index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: slices.Repeat([]v1.Descriptor{inner}, 20)}
			index.SchemaVersion = 2
			data = testimage.Marshal(index)
			tb.Blob(data)
			inner = testimage.Describe(v1.MediaTypeImageIndex, data)
		}
		top := v1.Index{Manifests: tb.Named(v1.MediaTypeImageIndex, data, img.RepoTags)}
		_, err := tryConvert(t, t.TempDir(), bytes.NewReader(tb.File(ocilayout.Index, testimage.Marshal(top)).Close()))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d indexes: %v, want %q", depth, err, want)
		}
	}
}

// shuffled returns the archive with its entries in another order.
func shuffled(t *testing.T, archive []byte, seed uint64) []byte {
	t.Helper()
	type entry struct {
		header *tar.Header
		data   []byte
	}
	var entries []entry
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{h, data})
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(entries), func(i, j int) {
		entries[i], entries[j] = entries[j], entries[i]
	})
	out := new(testimage.Tarball)
	for _, e := range entries {
		out.Entry(e.header, e.data)
	}
	return out.Close()
}
