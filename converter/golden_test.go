package converter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The addresses of fixed archives are part of format 1: of what is on IPFS
// already, nobody can change them. Should an encoder or a library give others,
// it is the one to go.
func TestGoldenRoots(t *testing.T) {
	for _, test := range []struct {
		name    string
		archive []byte
		sum     string // of the archive, lest that has changed
		v1, v0  string
	}{
		{
			"one layer", oldDocker(newTestImage([]string{"app:1.0"}, goldenLayer(1))),
			"b6000839",
			"bafybeigvyq4gelkxhvjapa5lou6v25kcqmnmnc5eklsyizkongfaddtvvq",
			"QmbbvBrSRqpCjVJtzBPXvR9bM525uf3QW3wwF2x37G7pfB",
		},
		{
			"two images", newDocker(newTestImage([]string{"app:1.0", "app:latest"}, goldenLayer(1), goldenLayer(2)),
				newTestImage([]string{"team/other:2"}, goldenLayer(2))),
			"634a1b38",
			"bafybeidx5l4cfturhqs3mx6ozp4bnfe3yjnlxz5ftmajawf73rcn43h2cu",
			"QmaEy3X3KB5UEsSepRQpTsscVJUEKoSKjXq746oaHuKk9x",
		},
		{
			"an index", first(containerdDocker(newTestImage([]string{"app:1.0"}, goldenLayer(3)))),
			"c41ae44e",
			"bafybeicflenbrp3m2mcdf5n3mtordc7otwzhjv3lk7hh5mqvvvj5e7keum",
			"QmPLzS1hJnxfAtRgAtKgAPh9dPJeZaC7q7hTmzmevSMp6L",
		},
	} {
		sum := sha256.Sum256(test.archive)
		if got := hex.EncodeToString(sum[:4]); got != test.sum {
			t.Errorf("%s: the test's archive has changed, to %s", test.name, got)
		}
		for profile, want := range map[unixfs.Profile]string{unixfs.V1: test.v1, unixfs.V0: test.v0} {
			for _, workers := range []int{1, 2, 7} {
				ws := &workspace{ctx: t.Context(), dir: t.TempDir(), profile: profile, workers: workers}
				if got := rootOf(t, ws, test.archive); got != want {
					t.Errorf("%s: %s with %d workers gives %s, want %s", test.name, profile, workers, got, want)
				}
			}
		}
	}
}

// goldenLayer is a tar with what makes a difference to where it is cut.
func goldenLayer(seed int) []byte {
	w := new(tarball)
	for i := range 500 {
		name := fmt.Sprintf("etc/%d/file-%d", seed, i)
		w.file(name, compressible(name, i*37%5000))
	}
	w.file("usr/bin/app", compressible("app", 3<<20))
	w.file(fmt.Sprintf("usr/lib/lib-%d.so", seed), compressible(fmt.Sprint(seed), 100_000))
	return w.symlink("usr/lib/lib.so", "lib-1.so").close()
}

// compressible is as compressible as programs are, more or less.
func compressible(seed string, n int) []byte {
	b := random(seed, n)
	for i := range b {
		b[i] &= 0x1f
	}
	return b
}

func rootOf(t *testing.T, ws *workspace, archive []byte) string {
	t.Helper()
	a, err := readArchive(bytes.NewReader(archive), ws, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	images, err := a.images(ref{})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := newTree(images, ws)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Root.CID.String()
}

func first(b, _ []byte) []byte { return b }
