package export

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An exported image that is converted again has the address that it had. The archive
// does not depend on where the image was read.
func TestExport(t *testing.T) {
	archive := testimage.OldDocker(
		testimage.New([]string{"app:1.0", "app:1.1"}, testimage.Layer("a", 3<<19), testimage.Layer("b", 10)),
		testimage.New([]string{"team/other:latest"}, testimage.Layer("a", 3<<19)))
	for _, profile := range []unixfs.Profile{unixfs.V1, unixfs.V0} {
		dir := t.TempDir()
		store, car := filepath.Join(dir, "store"), filepath.Join(dir, "app.car")
		want := convertTo(t, teststore.To(t, store), archive, converter.Options{Profile: profile})
		convertTo(t, teststore.ToCAR(t, car), archive, converter.Options{Profile: profile})
		exported := exportFrom(t, teststore.From(t, store), want.Root, nil)
		if !bytes.Equal(exported, exportFrom(t, teststore.FromCAR(t, car), want.Root, nil)) {
			t.Errorf("%s: from a store and from a CAR, the archives differ", profile)
		}
		again := convertTo(t, teststore.To(t, filepath.Join(dir, "again")), exported, converter.Options{Profile: profile})
		if again.Root != want.Root {
			t.Errorf("%s: converted again, the images are at %s, and were at %s", profile, again.Root, want.Root)
		}
	}
}

// A CAR file with one changed byte never gives an archive that looks complete.
func TestExportVerifies(t *testing.T) {
	car := filepath.Join(t.TempDir(), "app.car")
	result := convertTo(t, teststore.ToCAR(t, car), testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 400_000))), converter.Options{})
	want := exportFrom(t, teststore.FromCAR(t, car), result.Root, nil)
	whole := readFile(t, car)
	refused := 0
	for at := 64; at < len(whole); at += len(whole)/100 + 1 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		if err := os.WriteFile(car, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := tryExport(t, car, result.Root)
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("with another byte %d, there is another archive", at)
		}
		if err != nil && (bytes.Contains(got, []byte(ocilayout.Index)) || bytes.Contains(got, []byte(ocilayout.DockerList))) {
			t.Fatalf("with another byte %d, the archive says what it holds: %v", at, err)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 70 {
		t.Errorf("of 100 damaged CARs, %d were refused", refused)
	}
}

// Docker's list knows no platforms, so for an index it names the image for this machine,
// or the only one. If neither is present, the list is left out: with an empty list,
// Docker loads nothing and reports nothing.
func TestExportedPlatform(t *testing.T) {
	ours := runtime.GOOS + "/" + runtime.GOARCH
	for _, test := range []struct {
		platforms []string
		want      string // in Docker's list
		says      string
	}{
		{[]string{"linux/riscv64", ours, "linux/s390x"}, ours, ""},
		{[]string{"linux/riscv64"}, "linux/riscv64", ""},
		{[]string{"linux/s390x", "linux/riscv64"}, "", "one of its platforms, linux/riscv64, linux/s390x"},
	} {
		store := filepath.Join(t.TempDir(), "store")
		archive, configs := platformsArchive(test.platforms)
		result := convertTo(t, teststore.To(t, store), archive, converter.Options{})
		var said []string
		exported := exportFrom(t, teststore.From(t, store), result.Root, func(format string, args ...any) {
			said = append(said, fmt.Sprintf(format, args...))
		})
		got := ""
		if data := fileIn(t, exported, ocilayout.DockerList); data != nil {
			var list []ocilayout.DockerEntry
			if err := json.Unmarshal(data, &list); err != nil || len(list) != 1 {
				t.Fatalf("%v: %v: %s", test.platforms, err, data)
			}
			got = configs[list[0].Config]
		}
		line := strings.Join(said, "\n")
		if got != test.want || !strings.Contains(line, test.says) || (line == "") != (test.says == "") {
			t.Errorf("of %v, Docker's list names %q, and what is said is %q", test.platforms, got, line)
		}
	}
}

// A signature may be signed, and that signature too. Only indexes must not be nested
// deeper than manifest.MaxNesting.
func TestLongChainOfReferrersIsExported(t *testing.T) {
	img := testimage.New([]string{"app:1.0"}, testimage.Layer("a", 1000))
	tb := new(testimage.Tarball)
	subject := testimage.GzippedImage(tb, img)
	tb.Blob([]byte("{}"))
	manifests := []v1.Descriptor{testimage.Tagged(subject, "app:1.0")}
	for n := range manifest.MaxNesting + 1 {
		text := fmt.Append(nil, "signature ", n)
		signature := testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, text)
		signature.ArtifactType, signature.Subject = "application/x.signature", &subject
		tb.Blob(text).Blob(testimage.Marshal(signature))
		subject = testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(signature))
		manifests = append(manifests, subject)
	}
	store := filepath.Join(t.TempDir(), "store")
	result := convertTo(t, teststore.To(t, store), testimage.LayoutOf(tb, manifests...), converter.Options{})
	exported := exportFrom(t, teststore.From(t, store), result.Root, nil)
	for _, d := range manifests {
		if fileIn(t, exported, ocilayout.BlobPath(d.Digest)) == nil {
			t.Errorf("%s is not in the archive", d.Digest)
		}
	}
	again := convertTo(t, teststore.To(t, filepath.Join(t.TempDir(), "again")), exported, converter.Options{})
	if again.Root != result.Root {
		t.Errorf("converted again, the image is at %s, and was at %s", again.Root, result.Root)
	}
}

// platformsArchive returns an archive of an image for several platforms, and
// these by the paths of their configs.
func platformsArchive(platforms []string) (archive []byte, configs map[string]string) {
	tarball, index, configs := new(testimage.Tarball), v1.Index{MediaType: v1.MediaTypeImageIndex}, map[string]string{}
	index.SchemaVersion = 2
	for _, name := range platforms {
		p, err := platform.Parse(name)
		if err != nil {
			panic(err)
		}
		config := testimage.Marshal(v1.Image{Platform: v1.Platform{OS: p.OS, Architecture: p.Architecture}})
		m := testimage.Marshal(testimage.ImageManifest(config, v1.MediaTypeImageConfig))
		tarball.Blob(config)
		tarball.Blob(m)
		d := testimage.Describe(v1.MediaTypeImageManifest, m)
		d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture}
		index.Manifests = append(index.Manifests, d)
		configs[testimage.BlobName(config)] = name
	}
	top := v1.Index{Manifests: tarball.Named(v1.MediaTypeImageIndex, testimage.Marshal(index), []string{"app:v1"})}
	return tarball.File(ocilayout.Index, testimage.Marshal(top)).Close(), configs
}

func exportFrom(t *testing.T, from origin.Origin, root cid.Cid, logf func(string, ...any)) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteArchive(t.Context(), from, root, &b, Options{Logf: logf}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tryExport returns the archive of a CAR's image, which may be incomplete.
func tryExport(t *testing.T, car string, root cid.Cid) ([]byte, error) {
	t.Helper()
	from, _, err := origin.FromCAR(car)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var b bytes.Buffer
	err = WriteArchive(t.Context(), from, root, &b, Options{})
	return b.Bytes(), err
}

// fileIn returns a file of an archive, or nil.
func fileIn(t *testing.T, archive []byte, name string) []byte {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != name {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
}

func convertTo(t *testing.T, dst converter.Destination, archive []byte, o converter.Options) *converter.Result {
	t.Helper()
	result, err := converter.Convert(t.Context(), source.FromArchive(bytes.NewReader(archive)), dst, o)
	if err := errors.Join(err, dst.Close()); err != nil {
		t.Fatal(err)
	}
	return result
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
