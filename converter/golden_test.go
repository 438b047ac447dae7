package converter

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// The addresses of fixed archives are part of format 1: of what is on IPFS
// already, nobody can change them. Should an encoder or a library give others,
// it is the one to go.
func TestGoldenRoots(t *testing.T) {
	workers := []int{1, 2, 7} // of which no number makes a difference
	for i, test := range []struct {
		name    string
		archive []byte
		as      Options
		sum     string // of the archive, lest that has changed
		v1, v0  string
	}{
		{
			"one layer",
			testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(1))),
			Options{},
			"b6000839",
			"bafybeiarwmfupw2lmvjv3nmlp2qd2jvhjfyw53wriaevpyf6msud5fmlc4",
			"QmNYnpDxEDmkRjxTp5i8o24sZJQpAsuqYUHT1Qj6uU22R2",
		},
		{
			"two images",
			testimage.NewDocker(testimage.New([]string{"app:1.0", "app:latest"}, testimage.GoldenLayer(1), testimage.GoldenLayer(2)),
				testimage.New([]string{"team/other:2"}, testimage.GoldenLayer(2))),
			Options{},
			"634a1b38",
			"bafybeiexylhuc4mv3kvkhmwmwxcfag67r2pmo26sgqkldsgwhdsckir2du",
			"QmXJkzXTmafLvQwDAJay7QoTtdHVcNbKWDsbqak6TYrwvH",
		},
		{
			"an index",
			first(testimage.ContainerdDocker(testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(3)))),
			Options{},
			"c41ae44e",
			"bafybeicflenbrp3m2mcdf5n3mtordc7otwzhjv3lk7hh5mqvvvj5e7keum",
			"QmPLzS1hJnxfAtRgAtKgAPh9dPJeZaC7q7hTmzmevSMp6L",
		},
		{
			"one layer as it is",
			testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(1))),
			Options{Compression: blob.Uncompressed},
			"b6000839",
			"bafybeifpxy7jrh5eumyuvnnthzve6cbxkavcowfha37xjanzwoua5bei6u",
			"QmcYHYqpHqoxK1kdwxJE4FtMYEknDyhkAvAPLBAYaz3Ups",
		},
		{
			"an index with its layers aligned",
			first(testimage.ContainerdDocker(testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(3)))),
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
		for j, want := range []string{test.v1, test.v0} {
			profile, workers := []unixfs.Profile{unixfs.V1, unixfs.V0}[j], workers[(2*i+j)%len(workers)]
			ws := &blob.Workspace{
				Context: t.Context(), Dir: t.TempDir(),
				Form: blob.Form{Profile: profile, Workers: workers, Compression: test.as.Compression, Recompress: test.as.Recompress},
			}
			if got := rootOf(t, ws, test.archive); got != want {
				t.Errorf("%s: %s with %d workers gives %s, want %s", test.name, profile, workers, got, want)
			}
		}
	}
}

func rootOf(t *testing.T, ws *blob.Workspace, archive []byte) string {
	t.Helper()
	a := newArchive(ws, t.Logf, want{})
	if err := a.readTar(bytes.NewReader(archive)); err != nil {
		t.Fatal(err)
	}
	images, err := a.images()
	if err != nil {
		t.Fatal(err)
	}
	made, err := newTree(images, ws)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Finish(ws, nil, t.Logf); err != nil {
		t.Fatal(err)
	}
	return made.Root.CID.String()
}

func first(b, _ []byte) []byte { return b }
