package converter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
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
	dst, err := ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	return Convert(t.Context(), FromArchive(archive, ""), dst, Options{Logf: t.Logf})
}

func TestEveryArchiveOfAnImageHasOneRoot(t *testing.T) {
	layer := layerTar("bin/app", 3<<20)
	img := newTestImage([]string{"registry.example/team/app:1.0"}, layer, layerTar("etc/conf", 10), layer)
	old, s := convert(t, oldDocker(img))
	recent, _ := convert(t, newDocker(img))
	if old.Root != recent.Root {
		t.Errorf("the root is %s from an old archive and %s from a recent one", old.Root, recent.Root)
	}
	checkImage(t, s, old, img)
}

// checkImage pulls an image that we wrote the manifest of, as a client would,
// and holds it against what was saved.
func checkImage(t *testing.T, s *store.Store, result *Result, want testImage) {
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
	if config := readBlob(t, s, img, manifest.Config); !bytes.Equal(config, want.config) {
		t.Error("the config has changed")
	}
	if len(manifest.Layers) != len(want.layers) {
		t.Fatalf("%d layers, want %d", len(manifest.Layers), len(want.layers))
	}
	for i, d := range manifest.Layers {
		z, err := gzip.NewReader(bytes.NewReader(readBlob(t, s, img, d)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want.layers[i]) {
			t.Errorf("layer %d is not what was saved: %v", i, err)
		}
	}
}

// readBlob reads a blob that must be just what its descriptor says.
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

// Whatever the order of the entries, one pass is enough.
func TestOrderDoesNotMatter(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 100_000), layerTar("b", 10))
	want, _ := convert(t, newDocker(img))
	for seed := range 5 {
		got, _ := convert(t, shuffled(t, newDocker(img), uint64(seed)))
		if got.Root != want.Root {
			t.Errorf("order %d gives %s, want %s", seed, got.Root, want.Root)
		}
	}
}

// An index that was digested elsewhere keeps its bytes, and so does everything
// that it names and that is there.
func TestIndexKeepsItsBytes(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 100_000))
	archive, index := containerdDocker(img)
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
	if layer := readBlob(t, s, at, manifest.Layers[0]); !bytes.Equal(layer, gzipped(img.layers[0])) {
		t.Error("a compressed layer has changed")
	}
}

// A plain tar that a manifest digested elsewhere speaks of is stored plain.
func TestPlainLayersOfAnIndexStayPlain(t *testing.T) {
	img := newTestImage(nil, layerTar("a", 100_000))
	inner := imageManifest(img.config, v1.MediaTypeImageConfig, img.layers[0])
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{describe(v1.MediaTypeImageManifest, marshal(inner))}}
	index.SchemaVersion = 2
	tb := new(tarball).blob(img.config).blob(img.layers[0]).blob(marshal(inner))
	top := v1.Index{Manifests: tb.named(v1.MediaTypeImageIndex, marshal(index), []string{"app:1.0"})}
	result, s := convert(t, tb.file(ociIndex, marshal(top)).close())
	if got := readBlob(t, s, layout.Image{Root: result.Root, Name: "app"}, inner.Layers[0]); !bytes.Equal(got, img.layers[0]) {
		t.Error("the layer has changed")
	}
}

func TestReferences(t *testing.T) {
	one := newTestImage([]string{"app:1.0"}, layerTar("a", 10))
	two := newTestImage([]string{"app:2.0", "quay.io/team/other:2.0"}, layerTar("b", 10))
	untagged := newTestImage(nil, layerTar("c", 10))
	for _, test := range []struct {
		images []testImage
		want   []string // after the address
	}{
		{[]testImage{one}, []string{"/app"}},
		{[]testImage{untagged}, []string{""}},
		{[]testImage{one, two}, []string{"/app:1.0", "/app:2.0", "/team/other:2.0"}},
		{[]testImage{one, one}, []string{"/app"}},
	} {
		result, _ := convert(t, oldDocker(test.images...))
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
	for _, r := range []ref{{"app/blobs", "1"}, {"manifests", ""}, {"App", ""}, {"app", ".1"}, {strings.Repeat("a", maxName+1), ""}} {
		if err := checkRef(r); err == nil {
			t.Errorf("%q is accepted", r)
		}
	}
	for _, r := range []ref{{}, {"app", ""}, {"", "1"}, {strings.Repeat("a", maxName), "1"}} {
		if err := checkRef(r); err != nil {
			t.Error(err)
		}
	}
}

func TestRename(t *testing.T) {
	one, two := newTestImage([]string{"app/blobs:1", "b:2"}, layerTar("a", 10)), newTestImage([]string{"c:3"}, layerTar("b", 10))
	for _, test := range []struct {
		images    []testImage
		name, tag string
		want      ref
		err       string
	}{
		{[]testImage{one}, "team/app", "", ref{"team/app", "1"}, ""},
		{[]testImage{two}, "", "4", ref{"c", "4"}, ""},
		{[]testImage{one}, "team/app", "5", ref{"team/app", "5"}, ""},
		{[]testImage{two}, "Team", "", ref{}, "no image name"},
		{[]testImage{one, two}, "app", "", ref{}, "several images"},
		{[]testImage{one}, "", "", ref{}, "--name"},
	} {
		dst, err := ToStore(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dst.Close()
		result, err := Convert(t.Context(), FromArchive(bytes.NewReader(oldDocker(test.images...)), ""), dst, Options{Name: test.name, Tag: test.tag})
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
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 100_000))
	good := oldDocker(img)
	config := hexOf(img.config) + ".json"
	list := func(e dockerEntry) []byte { return marshal([]dockerEntry{e}) }
	layered := func() *tarball { return new(tarball).file("l/layer.tar", img.layers[0]).file(config, img.config) }
	for name, test := range map[string]struct {
		archive []byte
		want    string // in the error
	}{
		"empty":          {nil, "the input is empty"},
		"a word":         {[]byte("Error: No such image: nginx\n"), "no image archive"},
		"no archive":     {[]byte(strings.Repeat("this is not a tar", 100)), "no image archive"},
		"other tar":      {new(tarball).file("readme", []byte("hello")).close(), "no image archive"},
		"truncated":      {good[:len(good)/2], `the archive ends early, in "`},
		"outside":        {new(tarball).file("../x", nil).close(), `"../x"`},
		"absolute":       {new(tarball).file("/etc/passwd", nil).close(), "leads out"},
		"link outside":   {new(tarball).symlink("a/layer.tar", "../../x").close(), "leads out"},
		"link loop":      {layered().symlink("a", "b").symlink("b", "a").file(dockerManifests, list(dockerEntry{Config: "a"})).close(), `config "a" is not in the archive`},
		"missing config": {layered().file(dockerManifests, list(dockerEntry{Config: "x.json"})).close(), `config "x.json" is not in the archive`},
		"missing layer":  {layered().file(dockerManifests, list(dockerEntry{Config: config, Layers: []string{"m/layer.tar"}})).close(), `layer "m/layer.tar" is not in the archive`},
		"too few layers": {layered().file(dockerManifests, list(dockerEntry{Config: config})).close(), "has 1 layers, and the manifest 0"},
		"wrong diff_id": {
			layered().file("l/layer.tar", layerTar("b", 10)).file(dockerManifests, list(dockerEntry{Config: config, Layers: []string{"l/layer.tar"}})).close(),
			"and the config says " + digest.FromBytes(img.layers[0]).String(),
		},
		"not JSON":       {layered().file(dockerManifests, []byte("hello")).close(), "reading manifest.json"},
		"long JSON":      {new(tarball).file(dockerManifests, make([]byte, layout.MaxManifest+1)).close(), "manifest.json"},
		"no image":       {new(tarball).file(dockerManifests, []byte("[]")).close(), "holds no image"},
		"bad name":       {oldDocker(newTestImage([]string{"app/blobs:1"}, img.layers[0])), "is no image name here"},
		"two of a name":  {oldDocker(img, newTestImage([]string{"app:1.0"}, layerTar("b", 10))), "names two different images"},
		"bad config":     {new(tarball).file("c.json", []byte("{")).file(dockerManifests, list(dockerEntry{Config: "c.json"})).close(), "reading config c.json"},
		"lying blob":     {new(tarball).file(ociIndex, marshal(v1.Index{Manifests: []v1.Descriptor{describe("", []byte("x"))}})).file(blobName([]byte("x")), []byte("{}")).close(), "has the digest"},
		"broken gzip":    {layered().file("l/layer.tar", gzipped(img.layers[0])[:5000]).file(dockerManifests, list(dockerEntry{Config: config, Layers: []string{"l/layer.tar"}})).close(), "does not decompress"},
		"unknown digest": {new(tarball).file(ociIndex, []byte(`{"manifests":[{"digest":"md5:00"}]}`)).close(), "md5"},
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

// No archive that is cut off anywhere is taken for a whole one.
func TestTruncatedAnywhere(t *testing.T) {
	good := oldDocker(newTestImage([]string{"app:1.0"}, layerTar("a", 5000)))
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
	dst, err := ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	never, w := io.Pipe()
	defer w.Close()
	cause := errors.New("enough")
	cancel(cause)
	if _, err := Convert(ctx, FromArchive(never, ""), dst, Options{}); !errors.Is(err, cause) {
		t.Errorf("a cancelled conversion ends with %v, want %v", err, cause)
	}
}

// files lists what there is below dir, directories left out.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if path == "." && errors.Is(err, fs.ErrNotExist) {
			return nil // an empty store is taken away
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

// What we wrote, pulled and saved again by a store that keeps layers compressed,
// is made of the same leaves.
func TestOurLayersAreCutAsBefore(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, goldenLayer(1))
	result, s := convert(t, oldDocker(img))
	at := layout.Image{Root: result.Root, Name: "app"}
	m, err := layout.FindManifest(t.Context(), s, at, layout.Latest)
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.Manifest
	unmarshal(t, m.Data, &manifest)
	layer := readBlob(t, s, at, manifest.Layers[0])

	tb := new(tarball).blob(img.config).blob(layer)
	top := v1.Index{Manifests: tb.named(layout.DockerManifest, m.Data, img.repoTags)}
	again, _ := convert(t, tb.file(ociIndex, marshal(top)).close())
	if again.Root != result.Root {
		t.Errorf("the root is %s, and was %s", again.Root, result.Root)
	}
}

// A gzip file's members end where they end, however small, and one that is too
// large for a block makes the layer a file like any other.
func TestMembers(t *testing.T) {
	word, large := gzipped([]byte("word")), gzipped(random("x", unixfs.MaxLeaf+1))
	for name, test := range map[string]struct {
		members [][]byte
		cuts    int
		broken  bool
	}{
		"one":         {[][]byte{word}, 1, false},
		"several":     {[][]byte{word, gzipped(nil), gzipped(layerTar("a", 10_000)), word}, 4, false},
		"large":       {[][]byte{word, large}, 0, false},
		"damaged":     {[][]byte{word, word[:15]}, 0, true},
		"then a byte": {[][]byte{word, {0}}, 0, true},
		"then zeros":  {[][]byte{word, make([]byte, 100)}, 0, true},
		"cut off":     {[][]byte{word[:5]}, 0, true},
	} {
		c := &content{ws: &workspace{}, encoding: gzipEncoding}
		layer, err := c.look(bytes.NewReader(slices.Concat(test.members...)))
		if err != nil {
			t.Fatal(err)
		}
		if len(layer.cuts) != test.cuts || (layer.diffID == "") != test.broken {
			t.Errorf("%s: %d cuts, contents %q", name, len(layer.cuts), layer.diffID)
		}
		end := 0
		for i, cut := range layer.cuts {
			if end += len(test.members[i]); cut != int64(end) {
				t.Errorf("%s: member %d ends at %d, want %d", name, i, cut, end)
			}
		}
	}
}

// A signature is found by what it signs, under the same name, and is no image
// of its own.
func TestReferrers(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 1000))
	z := gzipped(img.layers[0])
	m := imageManifest(img.config, v1.MediaTypeImageConfig, z)
	subject := describe(v1.MediaTypeImageManifest, marshal(m))
	tb := new(tarball).blob(img.config).blob(z)
	index := v1.Index{Manifests: tb.named(v1.MediaTypeImageManifest, marshal(m), img.repoTags)}
	signs := map[digest.Digest]digest.Digest{}
	for _, text := range []string{"signature", "signature of the signature"} {
		s := v1.Manifest{
			MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/x.signature", Subject: &subject,
			Config: describe(v1.MediaTypeEmptyJSON, []byte("{}")), Layers: []v1.Descriptor{describe("text/plain", []byte(text))},
		}
		s.SchemaVersion = 2
		tb.blob([]byte("{}")).blob([]byte(text))
		signs[digest.FromBytes(marshal(s))] = subject.Digest
		index.Manifests = append(index.Manifests, tb.named(v1.MediaTypeImageManifest, marshal(s), nil)...)
		subject = describe(v1.MediaTypeImageManifest, marshal(s))
	}
	result, s := convert(t, tb.file(ociIndex, marshal(index)).close())
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

// A manifest of plain tars is written anew, unless something speaks of it by its
// digest.
func TestSubjectKeepsItsBytes(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 1000))
	m := imageManifest(img.config, v1.MediaTypeImageConfig, img.layers[0])
	subject := describe(v1.MediaTypeImageManifest, marshal(m))
	signature := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Subject: &subject, Config: describe(v1.MediaTypeEmptyJSON, []byte("{}"))}
	signature.SchemaVersion = 2
	for signed, want := range map[bool]string{false: layout.DockerManifest, true: v1.MediaTypeImageManifest} {
		tb := new(tarball).blob(img.config).blob(img.layers[0]).blob([]byte("{}"))
		index := v1.Index{Manifests: tb.named(v1.MediaTypeImageManifest, marshal(m), img.repoTags)}
		if signed {
			index.Manifests = append(index.Manifests, tb.named(v1.MediaTypeImageManifest, marshal(signature), nil)...)
		}
		result, _ := convert(t, tb.file(ociIndex, marshal(index)).close())
		if got := result.Images[0].MediaType; got != want {
			t.Errorf("signed %t: the manifest is %s, want %s", signed, got, want)
		}
		if kept := result.Images[0].Digest == subject.Digest; kept != signed {
			t.Errorf("signed %t: the manifest has the digest %s, and had %s", signed, result.Images[0].Digest, subject.Digest)
		}
	}
}

// Indexes that name one another again and again are read once each.
func TestNestedIndexes(t *testing.T) {
	img := newTestImage([]string{"app:1.0"}, layerTar("a", 1000))
	z := gzipped(img.layers[0])
	m := imageManifest(img.config, v1.MediaTypeImageConfig, z)
	for depth, want := range map[int]string{1: "", 2: "", maxNesting: "", maxNesting + 1: "name one another", 30: "name one another"} {
		tb := new(tarball).blob(img.config).blob(z).blob(marshal(m))
		inner := describe(v1.MediaTypeImageManifest, marshal(m))
		var data []byte
		for range depth {
			index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: slices.Repeat([]v1.Descriptor{inner}, 20)}
			index.SchemaVersion = 2
			data = marshal(index)
			tb.blob(data)
			inner = describe(v1.MediaTypeImageIndex, data)
		}
		top := v1.Index{Manifests: tb.named(v1.MediaTypeImageIndex, data, img.repoTags)}
		_, err := tryConvert(t, t.TempDir(), bytes.NewReader(tb.file(ociIndex, marshal(top)).close()))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d indexes: %v, want %q", depth, err, want)
		}
	}
}
