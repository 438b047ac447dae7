package convert

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The converter gives an archive the same address in every destination, and writes the
// same content: as blocks to a store, a node and a CAR file, and as files with --no-add.
// `ipfs add` of those files gives another address, since it does not cut layers at file
// boundaries; TestProfileOfIPFSAddGivesItsAddress compares with it.
func TestStoreNodeAndCARGiveOneAddress(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	car := filepath.Join(t.TempDir(), "image.car")
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir()))
	for flag, value := range map[string]string{"--ipfs-api": kubo.API, "--car": car} {
		if got := harness.RootOf(t, harness.Convert(t, img.Archive, flag+"="+value)); got != address {
			t.Errorf("%s gives the address %s, and the store %s", flag, got, address)
		}
	}
	dir := harness.Convert(t, img.Archive, "--no-add")
	t.Cleanup(func() { os.RemoveAll(dir) })

	t.Run("kubo", func(t *testing.T) {
		mustBePinned(t, kubo.Repo, address, harness.ImageName+":v1")
		mustBeListed(t, kubo.Repo, address, dir)
		out := filepath.Join(t.TempDir(), "out")
		harness.IPFS(t, kubo.Repo, "get", "--output="+out, harness.CIDv1(t, address))
		if !maps.Equal(harness.ReadTree(t, out), harness.ReadTree(t, dir)) {
			t.Errorf("ipfs get gives %v, and --no-add %v", names(t, out), names(t, dir))
		}
	})
	t.Run("car", func(t *testing.T) {
		repo := harness.NewRepo(t)
		harness.IPFS(t, repo, "dag", "import", car)
		mustBePinned(t, repo, address, "")
		out := filepath.Join(t.TempDir(), "out")
		harness.IPFS(t, repo, "get", "--output="+out, harness.CIDv1(t, address))
		if !maps.Equal(harness.ReadTree(t, out), harness.ReadTree(t, dir)) {
			t.Errorf("the CAR has %v, and --no-add gives %v", names(t, out), names(t, dir))
		}
	})
}

// The environment variable IPFS_API names the node if no flag does.
func TestEnvironmentNamesTheNode(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	cmd := harness.Converter(t, img.Archive)
	cmd.Env = append(os.Environ(), "IPFS_API="+kubo.API)
	mustBePinned(t, kubo.Repo, harness.RootOf(t, harness.RunForLine(t, cmd)), harness.ImageName+":v1")
}

// With the profile that `ipfs add` uses by default, the converter gives the addresses
// that `ipfs add` gives, and that image2ipfs gave.
func TestProfileOfIPFSAddGivesItsAddress(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	const profile = "unixfs-v0-2015"
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir(), "--cid-profile="+profile))
	dir := harness.Convert(t, img.Archive, "--no-add", "--cid-profile="+profile)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if got := harness.AddressOf(t, harness.NewRepo(t), harness.IPFSAdd(t, profile, dir)); got != address {
		t.Errorf("ipfs add of the directory gives %s, and the store %s", got, address)
	}
}

// mustBePinned fails the test unless the root is pinned, with the name if there is one.
func mustBePinned(t *testing.T, repo, address, name string) {
	t.Helper()
	want := strings.TrimSpace(harness.CIDv1(t, address) + " recursive " + name)
	pins := harness.IPFS(t, repo, "pin", "ls", "--type=recursive", "--names")
	if !slices.Contains(strings.Split(pins, "\n"), want) {
		t.Errorf("no pin %q among\n%s", want, pins)
	}
}

// mustBeListed fails the test unless `ipfs ls` shows the entries of every directory
// below dir, which the converter wrote.
func mustBeListed(t *testing.T, repo, address, dir string) {
	t.Helper()
	for name := range harness.ReadTree(t, dir) {
		if !strings.HasSuffix(name, "/") {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, e := range entries {
			want = append(want, e.Name())
		}
		var got []string
		for line := range strings.Lines(harness.IPFS(t, repo, "ls", path.Join("/ipfs", harness.CIDv1(t, address), name))) {
			fields := strings.Fields(line) // CID SIZE NAME
			got = append(got, strings.TrimSuffix(fields[len(fields)-1], "/"))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: ipfs ls shows %v, want %v", name, got, want)
		}
	}
}

// names returns the paths of all files and directories below dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(harness.ReadTree(t, dir)))
}
