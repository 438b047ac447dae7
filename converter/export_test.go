package converter

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// Exported and converted again, images have the address that they had, and the
// archive does not depend on where they were.
func TestExport(t *testing.T) {
	archive := oldDocker(
		newTestImage([]string{"app:1.0", "app:1.1"}, layerTar("a", 3<<20), layerTar("b", 10)),
		newTestImage([]string{"team/other:latest"}, layerTar("a", 3<<20)))
	for _, profile := range []unixfs.Profile{unixfs.V1, unixfs.V0} {
		dir := t.TempDir()
		store, car := filepath.Join(dir, "store"), filepath.Join(dir, "app.car")
		want := convertTo(t, toStoreIn(t, store), archive, Options{Profile: profile})
		convertTo(t, toCARAt(t, car), archive, Options{Profile: profile})
		exported := exportFrom(t, fromStore(t, store), want.Root, nil)
		if !bytes.Equal(exported, exportFrom(t, fromCAR(t, car), want.Root, nil)) {
			t.Errorf("%s: from a store and from a CAR, the archives differ", profile)
		}
		again := convertTo(t, toStoreIn(t, filepath.Join(dir, "again")), exported, Options{Profile: profile})
		if again.Root != want.Root {
			t.Errorf("%s: converted again, the images are at %s, and were at %s", profile, again.Root, want.Root)
		}
	}
}

// Whatever byte of a CAR is another, no archive comes of it that anybody would
// take for whole.
func TestExportVerifies(t *testing.T) {
	car := filepath.Join(t.TempDir(), "app.car")
	result := convertTo(t, toCARAt(t, car), oldDocker(newTestImage([]string{"app:1.0"}, layerTar("a", 1<<20))), Options{})
	want := exportFrom(t, fromCAR(t, car), result.Root, nil)
	whole := readFile(t, car)
	refused := 0
	for at := 64; at < len(whole); at += len(whole)/150 + 1 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		if err := os.WriteFile(car, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := tryExport(t, car, result.Root)
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("with another byte %d, there is another archive", at)
		}
		if err != nil && (bytes.Contains(got, []byte(ociIndex)) || bytes.Contains(got, []byte(dockerManifests))) {
			t.Fatalf("with another byte %d, the archive says what it holds: %v", at, err)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("of 150 damaged CARs, %d were refused", refused)
	}
}

// Docker's list, which knows no platforms, names this machine's image of an
// index, or the only one. Where neither is there it stays away, since an empty
// list would have Docker load nothing without a word.
func TestExportedPlatform(t *testing.T) {
	ours := runtime.GOOS + "/" + runtime.GOARCH
	for _, test := range []struct {
		platforms []string
		want      string // in Docker's list
		says      string
	}{
		{[]string{"linux/riscv64", ours, "linux/s390x"}, ours, ""},
		{[]string{"linux/riscv64"}, "linux/riscv64", ""},
		{[]string{"linux/s390x", "linux/riscv64"}, "", "there is linux/riscv64, linux/s390x"},
	} {
		store := filepath.Join(t.TempDir(), "store")
		archive, configs := platformsArchive(test.platforms)
		result := convertTo(t, toStoreIn(t, store), archive, Options{})
		var said []string
		exported := exportFrom(t, fromStore(t, store), result.Root, func(format string, args ...any) {
			said = append(said, fmt.Sprintf(format, args...))
		})
		got := ""
		if data := fileIn(t, exported, dockerManifests); data != nil {
			var list []dockerEntry
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

// platformsArchive returns an archive of an image for several platforms, and
// these by the paths of their configs.
func platformsArchive(platforms []string) (archive []byte, configs map[string]string) {
	tarball, index, configs := new(tarball), v1.Index{MediaType: v1.MediaTypeImageIndex}, map[string]string{}
	index.SchemaVersion = 2
	for _, platform := range platforms {
		p, err := ParsePlatform(platform)
		if err != nil {
			panic(err)
		}
		config := marshal(v1.Image{Platform: v1.Platform{OS: p.OS, Architecture: p.Architecture}})
		m := marshal(imageManifest(config, v1.MediaTypeImageConfig))
		tarball.blob(config)
		tarball.blob(m)
		d := describe(v1.MediaTypeImageManifest, m)
		d.Platform = &v1.Platform{OS: p.OS, Architecture: p.Architecture}
		index.Manifests = append(index.Manifests, d)
		configs[blobName(config)] = platform
	}
	top := v1.Index{Manifests: tarball.named(v1.MediaTypeImageIndex, marshal(index), []string{"app:v1"})}
	return tarball.file(ociIndex, marshal(top)).close(), configs
}

func exportFrom(t *testing.T, from origin.Origin, root cid.Cid, logf func(string, ...any)) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Export(t.Context(), from, root, &b, ExportOptions{Logf: logf}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tryExport returns what came out of a CAR, whole or not.
func tryExport(t *testing.T, car string, root cid.Cid) ([]byte, error) {
	t.Helper()
	from, _, err := origin.FromCAR(car)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var b bytes.Buffer
	err = Export(t.Context(), from, root, &b, ExportOptions{})
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
