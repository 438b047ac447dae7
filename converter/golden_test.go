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
		as      Options
		sum     string // of the archive, lest that has changed
		v1, v0  string
	}{
		{
			"one layer",
			oldDocker(newTestImage([]string{"app:1.0"}, goldenLayer(1))),
			Options{},
			"b6000839",
			"bafybeiarwmfupw2lmvjv3nmlp2qd2jvhjfyw53wriaevpyf6msud5fmlc4",
			"QmNYnpDxEDmkRjxTp5i8o24sZJQpAsuqYUHT1Qj6uU22R2",
		},
		{
			"two images",
			newDocker(newTestImage([]string{"app:1.0", "app:latest"}, goldenLayer(1), goldenLayer(2)),
				newTestImage([]string{"team/other:2"}, goldenLayer(2))),
			Options{},
			"634a1b38",
			"bafybeiexylhuc4mv3kvkhmwmwxcfag67r2pmo26sgqkldsgwhdsckir2du",
			"QmXJkzXTmafLvQwDAJay7QoTtdHVcNbKWDsbqak6TYrwvH",
		},
		{
			"an index",
			first(containerdDocker(newTestImage([]string{"app:1.0"}, goldenLayer(3)))),
			Options{},
			"c41ae44e",
			"bafybeicflenbrp3m2mcdf5n3mtordc7otwzhjv3lk7hh5mqvvvj5e7keum",
			"QmPLzS1hJnxfAtRgAtKgAPh9dPJeZaC7q7hTmzmevSMp6L",
		},
		{
			"one layer as it is",
			oldDocker(newTestImage([]string{"app:1.0"}, goldenLayer(1))),
			Options{Compression: Uncompressed},
			"b6000839",
			"bafybeifpxy7jrh5eumyuvnnthzve6cbxkavcowfha37xjanzwoua5bei6u",
			"QmcYHYqpHqoxK1kdwxJE4FtMYEknDyhkAvAPLBAYaz3Ups",
		},
		{
			"an index with its layers aligned",
			first(containerdDocker(newTestImage([]string{"app:1.0"}, goldenLayer(3)))),
			Options{Recompress: true},
			"c41ae44e",
			"bafybeihww7hx2aicc6ezvz752fnteg5ydkgzjaizhhde7zu5iok7xk7lt4",
			"QmRXMWdfTtEKCZWk86LdHTU3GUUEfZAgn34fRyytqFUrAv",
		},
	} {
		sum := sha256.Sum256(test.archive)
		if got := hex.EncodeToString(sum[:4]); got != test.sum {
			t.Errorf("%s: the test's archive has changed, to %s", test.name, got)
		}
		for profile, want := range map[unixfs.Profile]string{unixfs.V1: test.v1, unixfs.V0: test.v0} {
			for _, workers := range []int{1, 2, 7} {
				ws := &workspace{
					ctx: t.Context(), dir: t.TempDir(), profile: profile, workers: workers,
					compression: test.as.Compression, recompress: test.as.Recompress,
				}
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
	a := newArchive(ws, t.Logf, want{})
	if err := a.readTar(bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	images, err := a.images()
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
