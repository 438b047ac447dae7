package converter_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/deflate"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A golden is a fixed archive and the addresses that it has in format 1.
type golden struct {
	name    string
	archive []byte
	options converter.Options
	onto    []byte // an archive that is converted first, as the base
	sum     string // of the archive: shows whether the test itself has changed
	v1, v0  string // roots, by profile; v1 is the default
}

// The addresses of fixed archives are part of format 1: images on IPFS keep them for
// ever. An encoder or library that gives other roots cannot be used.
func TestGoldenRoots(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	workers := []int{1, 2, 7} // the number of workers must not change a root
	for i, test := range goldens() {
		t.Run(test.name, func(t *testing.T) {
			sum := sha256.Sum256(append(test.archive[:len(test.archive):len(test.archive)], test.onto...))
			if got := hex.EncodeToString(sum[:4]); got != test.sum {
				t.Errorf("the test's archive has changed, to %s", got)
			}
			for j, profile := range []unixfs.Profile{{}, unixfs.V0} { // the first is the default
				runtime.GOMAXPROCS(workers[(2*i+j)%len(workers)])
				o := test.options
				o.Profile = profile
				want := []string{test.v1, test.v0}[j]
				if got := goldenRoot(t, test, o).String(); got != want {
					t.Errorf("profile %q with %d workers gives %s, want %s", profile, runtime.GOMAXPROCS(0), got, want)
				}
			}
		})
	}
}

func goldens() []golden {
	oneLayer := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(1)))
	index, _ := testimage.ContainerdDocker(testimage.New([]string{"app:1.0"}, testimage.GoldenLayer(3)))
	small := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 300_000)))
	return []golden{
		{
			name: "one layer", archive: oneLayer, sum: "b6000839",
			v1: "bafybeiarwmfupw2lmvjv3nmlp2qd2jvhjfyw53wriaevpyf6msud5fmlc4",
			v0: "QmNYnpDxEDmkRjxTp5i8o24sZJQpAsuqYUHT1Qj6uU22R2",
		},
		{
			name: "two images",
			archive: testimage.NewDocker(testimage.New([]string{"app:1.0", "app:latest"}, testimage.GoldenLayer(1), testimage.GoldenLayer(2)),
				testimage.New([]string{"team/other:2"}, testimage.GoldenLayer(2))),
			sum: "634a1b38",
			v1:  "bafybeiexylhuc4mv3kvkhmwmwxcfag67r2pmo26sgqkldsgwhdsckir2du",
			v0:  "QmXJkzXTmafLvQwDAJay7QoTtdHVcNbKWDsbqak6TYrwvH",
		},
		{
			name: "an index", archive: index, sum: "c41ae44e",
			v1: "bafybeicflenbrp3m2mcdf5n3mtordc7otwzhjv3lk7hh5mqvvvj5e7keum",
			v0: "QmPLzS1hJnxfAtRgAtKgAPh9dPJeZaC7q7hTmzmevSMp6L",
		},
		{
			name: "one layer as it is", archive: oneLayer, sum: "b6000839",
			options: converter.Options{Compression: blob.Uncompressed},
			v1:      "bafybeifpxy7jrh5eumyuvnnthzve6cbxkavcowfha37xjanzwoua5bei6u",
			v0:      "QmcYHYqpHqoxK1kdwxJE4FtMYEknDyhkAvAPLBAYaz3Ups",
		},
		{
			name: "an index with its layers aligned", archive: index, sum: "c41ae44e",
			options: converter.Options{Recompress: true},
			v1:      "bafybeihww7hx2aicc6ezvz752fnteg5ydkgzjaizhhde7zu5iok7xk7lt4",
			v0:      "QmRXMWdfTtEKCZWk86LdHTU3GUUEfZAgn34fRyytqFUrAv",
		},
		{
			name: "level 1", archive: small, sum: "07bf0aee",
			options: converter.Options{Level: 1},
			v1:      "bafybeigptrkhcrt2l5tj7motzj6253xpnq3xglcm5kh3yjxf2yusgcsdmi",
			v0:      "QmSGALdfp6kFFRDrgJsKkWzzDFWWxv8HfTPcrNdrNeNkpa",
		},
		{
			name: "level 9", archive: small, sum: "07bf0aee",
			options: converter.Options{Level: 9},
			v1:      "bafybeiblmnygts3xtv7t3adj4h5icls2uwdq4q5sa4grkzjui42oeemsu4",
			v0:      "QmbkGUoHLpRoRRBQ8YnUDR9zJSDYPx8n9gm46m3bJQXARs",
		},
		{
			name: "another name and tag", archive: small, sum: "07bf0aee",
			options: converter.Options{Name: "team/other", Tag: "2"},
			v1:      "bafybeicyspx3y4g2vndkljcakgm4bonaxqfflhblna446lcgesuq25jdiu",
			v0:      "QmTpxAmMiapseCWg36RdjTEP4JCVwkWp2RT8T2yvQneQMK",
		},
		{
			name: "no name", archive: testimage.OldDocker(testimage.New(nil, testimage.Layer("a", 10))), sum: "354cec5a",
			v1: "bafybeia6kzlme633hvl2lgi6ksnohxmcowzcnmeoaxqzifs2xbtw3tclka",
			v0: "QmVsmLAV66SbMnHBDiVkfnWFT9L4pbwxwi7PYM56WhVyY7",
		},
		{
			name: "referrers", archive: signedArchive(), sum: "7cd01e29",
			v1: "bafybeib5ybvoq3to7me7pvqyh54q7mxis6fklqkhqmqwufbyzpv4k2zsc4",
			v0: "QmX1rtDspakUwR6cou14Dh6e7BCrdzpRrwu3QwQ6Q8XvJj",
		},
		{
			name: "referrers of what is recompressed are dropped", archive: signedArchive(), sum: "7cd01e29",
			options: converter.Options{Recompress: true},
			v1:      "bafybeidozz5ntzc4p3qzagdlzigngx3tqtmo6f3dulazghrw7vi7boqnuu",
			v0:      "QmWf41S2toN93rAMr7XLarDGT7PmNvRYave8cGMCoZJ9Wb",
		},
		{
			name: "a nested index", archive: nestedArchive(), sum: "0aa5f0bd",
			v1: "bafybeifgrewdgi6bjthi4eqw4hvt4s4m57bkbpoahxmjhka7wbkaurgqeu",
			v0: "QmXo8xScCmKBNTw5dXvsy8Qr1hRfnThtW4cShGvz4Wrs2Z",
		},
		{
			name: "a nested index, recompressed as plain tars", archive: nestedArchive(), sum: "0aa5f0bd",
			options: converter.Options{Recompress: true, Compression: blob.Uncompressed},
			v1:      "bafybeifq6xclvszthxinuu676mmav7jd32bevhaqrrhakzyu3nwnxqqqwa",
			v0:      "QmX5cK7ruQJdFqBtoy52GPZextSNH6C1xrsYAfQsvDizH1",
		},
		{
			name: "one platform of a nested index", archive: nestedArchive(), sum: "0aa5f0bd",
			options: converter.Options{Platform: &platform.Platform{OS: "linux", Architecture: "arm64"}},
			v1:      "bafybeicbiaos74x6zidxrxn3tajpyfutoiykjo3qfud4e2q663ypqetkiq",
			v0:      "QmUfHUx7Gmu1XS3GqEi1EjRpmr5Px5ozFT8JcjFPTpqWsK",
		},
		{
			name: "platforms side by side", archive: sideBySideArchive(), sum: "269cd2b5",
			v1: "bafybeihj2fecv2zmy7pwwxpf6lhptgfu3tdb2wartymwdvqp67mb3xlwvq",
			v0: "QmbNdidHij4qVEhFixHDgbt9b8xc1jNtuwu4t1RCZcerDH",
		},
		{
			name: "sha512 names", archive: sha512Archive(), sum: "b5a53acf",
			v1: "bafybeie3fwhrmyhr3byfrauaj2qlv3hudsc2fjl4b6s3xdrgdiraibpcp4",
			v0: "QmU6Zwqp7xsHY3pDXxSxze8CBM8mS6PBzEkRHGaEVvHMkb",
		},
		{
			name: "zstd", archive: zstdArchive(), sum: "da073f83",
			v1: "bafybeidfu5mxzwzp4xiaeisuuakwmanxllsptt77vhaq6ux77jtao6whiq",
			v0: "QmQYjdLJLxbHA5gUeyMebuGFEfkFYqisjz1dZTv3xQozpw",
		},
		{
			name: "onto an image of another name", onto: small, archive: testimage.OldDocker(testimage.New([]string{"team/other:2"}, testimage.Layer("b", 1000))), sum: "1d209c94",
			v1: "bafybeiedg3g6bv5bffxn7zqsqfc5hxfdjuwxk6dttpzt4yvzsfc3oxzm6y",
			v0: "QmWsjebbFSs61PMzMjyxtehzmWLixHTQeLjTzHjJ9YCmcm",
		},
		{
			name: "onto a tag that moves", onto: small, archive: testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("b", 1000))), sum: "f74ec91c",
			v1: "bafybeicguqfgk2abk5t3sn5pcs3h4kcoi7tuzerjgyybbxuyf7m7bcb2fu",
			v0: "QmTtB5of5A3K7vmQEKh4t2CzqBDY72VB9WXz4o89X69GKi",
		},
		{
			name: "onto an image with other referrers", onto: signedArchive(), archive: signedArchive("a third statement"), sum: "de97ebe5",
			v1: "bafybeibs2q6r366ar2mr2yq6rnckmazqrzzfmcfz5lhreawougqttnyvcm",
			v0: "Qmay4mxBRsK5AferZHRuuUfp1QNUdTbfED8oAYp88T6wsf",
		},
	}
}

// goldenRoot converts the golden's archive onto its base.
func goldenRoot(t *testing.T, test golden, o converter.Options) cid.Cid {
	t.Helper()
	dir := t.TempDir()
	if test.onto != nil {
		base := convertInto(t, dir, test.onto, o)
		from, err := origin.FromStore(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		o.Onto = &converter.Base{From: from, Root: base}
	}
	return convertInto(t, dir, test.archive, o)
}

func convertInto(t *testing.T, dir string, archive []byte, o converter.Options) cid.Cid {
	t.Helper()
	dst, err := destination.ToStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	result, err := converter.Convert(context.Background(), source.FromArchive(bytes.NewReader(archive)), dst, o)
	if err != nil {
		t.Fatal(err)
	}
	return result.Root
}

// gzipped compresses with this project's encoder, whose output is frozen, so no
// library can change a golden archive. The data is cut into two members.
func gzipped(data []byte) []byte {
	e := deflate.NewEncoder(6)
	return e.Append(e.Append(nil, data[:len(data)/2]), data[len(data)/2:])
}

// gzippedImage adds an image of one compressed layer to an archive and describes
// its manifest.
func gzippedImage(tb *testimage.Tarball, name string) v1.Descriptor {
	img := testimage.New(nil, testimage.Layer(name, 40_000))
	layer := gzipped(img.Layers[0])
	return testimage.OCIManifest(tb.Blob(img.Config).Blob(layer), img.Config, v1.MediaTypeImageConfig, layer)
}

// signedArchive is an OCI layout of one image, two statements about it and one
// about the first of those. The annotations hold what JSON encoders escape in
// different ways. More statements about the image can be asked for.
func signedArchive(more ...string) []byte {
	tb := new(testimage.Tarball)
	image := gzippedImage(tb, "signed")
	state := func(subject v1.Descriptor, artifactType, text string) v1.Descriptor {
		tb.Blob([]byte("{}")).Blob([]byte(text))
		m := v1.Manifest{
			MediaType: v1.MediaTypeImageManifest, ArtifactType: artifactType, Subject: &subject,
			Config:      testimage.Describe(v1.MediaTypeEmptyJSON, []byte("{}")),
			Layers:      []v1.Descriptor{testimage.Describe("text/plain", []byte(text))},
			Annotations: map[string]string{"org.example.b": "<a & b> é \u2028", "org.example.a": text},
		}
		m.SchemaVersion = 2
		data := testimage.Marshal(m)
		tb.Blob(data)
		return testimage.Describe(v1.MediaTypeImageManifest, data)
	}
	first := state(image, "application/vnd.example.signature", "a signature")
	statements := []v1.Descriptor{first, state(image, "", "a list of parts"), state(first, "application/vnd.example.signature", "a signature of a signature")}
	for _, text := range more {
		statements = append(statements, state(image, "", text))
	}
	return testimage.LayoutOf(tb, append([]v1.Descriptor{testimage.Tagged(image, "example.org/team/app:1.0")}, statements...)...)
}

// nestedArchive is an OCI layout whose image is an index of an index of two images,
// an attestation, a blob that is no manifest, and a platform that is missing.
func nestedArchive() []byte {
	tb := new(testimage.Tarball)
	amd64, arm64 := gzippedImage(tb, "amd64"), gzippedImage(tb, "arm64")
	amd64.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	arm64.Platform = &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	missing := testimage.Describe(v1.MediaTypeImageManifest, []byte("not in the archive"))
	missing.Platform = &v1.Platform{OS: "linux", Architecture: "riscv64"}
	note := []byte("any file can be in an index")
	tb.Blob(note)
	inner := indexOf(tb, amd64, arm64, testimage.Attestation(tb, amd64), missing)
	outer := indexOf(tb, inner, testimage.Describe("text/plain", note))
	return testimage.LayoutOf(tb, testimage.Tagged(outer, "example.org/team/app:1.0"))
}

// zstdArchive is an OCI layout of an image whose layers are zstd: one frame, and many frames
// with skippable ones at the end, as in zstd:chunked.
func zstdArchive() []byte {
	img := testimage.New(nil, testimage.GoldenLayer(5), testimage.GoldenLayer(6))
	tb := new(testimage.Tarball).Blob(img.Config)
	m := testimage.ImageManifest(img.Config, v1.MediaTypeImageConfig)
	for i, l := range img.Layers {
		layer := zstdFrame(nil, l)
		if i > 0 {
			layer = chunked(l)
		}
		tb.Blob(layer)
		m.Layers = append(m.Layers, testimage.Describe(v1.MediaTypeImageLayerZstd, layer))
	}
	tb.Blob(testimage.Marshal(m))
	return testimage.LayoutOf(tb, testimage.Tagged(testimage.Describe(v1.MediaTypeImageManifest, testimage.Marshal(m)), "docker.io/library/app:1.0"))
}

// chunked makes many frames of data, and three skippable ones after them.
func chunked(data []byte) (z []byte) {
	for i := 1; len(data) > 0; i++ {
		n := min(len(data), i*7919%20_000, i*104_729%90_000)
		z = zstdFrame(z, data[:n])
		data = data[n:]
	}
	for _, n := range []int{100_000, 30_000, 64} {
		z = append(z, 0x50, 0x2a, 0x4d, 0x18, byte(n), byte(n>>8), byte(n>>16), 0)
		z = append(z, testimage.Random(fmt.Sprint(n), n)...)
	}
	return z
}

// zstdFrame appends a frame of blocks that are not compressed, so no library can change a
// golden archive.
func zstdFrame(z, data []byte) []byte {
	const maxBlock = 128 << 10
	z = append(z, 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38) // a window of 128 KiB
	for {
		n := min(len(data), maxBlock)
		header := n << 3
		if n == len(data) {
			header |= 1 // the last block
		}
		z = append(z, byte(header), byte(header>>8), byte(header>>16))
		z = append(z, data[:n]...)
		if data = data[n:]; len(data) == 0 {
			return z
		}
	}
}

// sideBySideArchive is an OCI layout that lists two platforms under one name instead
// of an index.
func sideBySideArchive() []byte {
	tb := new(testimage.Tarball)
	amd64, windows := gzippedImage(tb, "amd64"), gzippedImage(tb, "windows")
	amd64.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	windows.Platform = &v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.20348.1"}
	const name = "example.org/team/app:1.0"
	return testimage.LayoutOf(tb, testimage.Tagged(windows, name), testimage.Tagged(amd64, name))
}

func indexOf(tb *testimage.Tarball, manifests ...v1.Descriptor) v1.Descriptor {
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: manifests}
	index.SchemaVersion = 2
	data := testimage.Marshal(index)
	tb.Blob(data)
	return testimage.Describe(v1.MediaTypeImageIndex, data)
}

// sha512Archive is an OCI layout in which everything is called by its sha512, and
// the image has a statement about it.
func sha512Archive() []byte {
	tb := new(testimage.Tarball)
	add := func(mediaType string, data []byte) v1.Descriptor {
		d := testimage.Describe(mediaType, data)
		d.Digest = digest.SHA512.FromBytes(data)
		tb.File(ocilayout.BlobPath(d.Digest), data)
		return d
	}
	layer := testimage.Layer("strong", 40_000)
	config := []byte(strings.Replace(string(testimage.New(nil, layer).Config), digest.FromBytes(layer).String(), digest.SHA512.FromBytes(layer).String(), 1))
	m := v1.Manifest{
		MediaType: v1.MediaTypeImageManifest, Config: add(v1.MediaTypeImageConfig, config),
		Layers: []v1.Descriptor{add(v1.MediaTypeImageLayerGzip, gzipped(layer))},
	}
	m.SchemaVersion = 2
	image := add(v1.MediaTypeImageManifest, testimage.Marshal(m))
	signature := v1.Manifest{
		MediaType: v1.MediaTypeImageManifest, ArtifactType: "application/vnd.example.signature", Subject: &image,
		Config: add(v1.MediaTypeEmptyJSON, []byte("{}")), Layers: []v1.Descriptor{add("text/plain", []byte("a signature"))},
	}
	signature.SchemaVersion = 2
	return testimage.LayoutOf(tb, testimage.Tagged(image, "example.org/team/app:1.0"), add(v1.MediaTypeImageManifest, testimage.Marshal(signature)))
}

// The index of an image's referrers is written as format 1 says to the byte, key
// order and escapes included.
func TestGoldenReferrersIndex(t *testing.T) {
	dir := t.TempDir()
	root := convertInto(t, dir, signedArchive(), converter.Options{})
	subject := gzippedImage(new(testimage.Tarball), "signed").Digest
	got, err := store.Open(dir).ReadFile(t.Context(), root, layout.ReferrersPath("team/app", subject), layout.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` +
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:3a57de81a772510953f12602c4660b5ce0715caf3226eefa249d0d53ea36220c","size":622,` +
		`"annotations":{"org.example.a":"a list of parts","org.example.b":"\u003ca \u0026 b\u003e é \u2028"},"artifactType":"application/vnd.oci.empty.v1+json"},` +
		`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:8cbc5a2ce7082d32c410eb4fead2f652c4a15e25c70547944b003bd0c897ddcf","size":669,` +
		`"annotations":{"org.example.a":"a signature","org.example.b":"\u003ca \u0026 b\u003e é \u2028"},"artifactType":"application/vnd.example.signature"}]}`
	if string(got) != want {
		t.Errorf("the index is\n%s\nwant\n%s", got, want)
	}
}
