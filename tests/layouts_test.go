package tests

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"testing"
)

const (
	schema2     = "application/vnd.docker.distribution.manifest.v2+json"
	configType  = "application/vnd.docker.container.image.v1+json"
	gzippedTars = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Images that image2ipfs put on IPFS before there was this module are still
// pulled: it had no digest among its manifests, and only the tag latest, by
// another name.
func TestImage2ipfsLayout(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	m, blobs := schema2Of(t, img)
	// Its manifests were indented, and ended with a line feed.
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for digest, blob := range blobs {
		writeFile(t, filepath.Join(dir, imageName, "blobs", digest), blob)
	}
	writeFile(t, filepath.Join(dir, imageName, "manifests", "latest-v2"), string(content)+"\n")

	kubo := newKubo(t)
	caddy := newCaddy(t, "ipfs_registry "+kubo.gateway)
	cid := ipfs(t, kubo.repo, "add", "--recursive", "--quieter", dir)
	img.mustBe(t, pullByDocker(t, caddy.host()+"/"+ciq(t, kubo.repo, cid)+"/"+imageName))
}

// So are those of ipdr, where the directory is the image and there is no name.
func TestIpdrLayout(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	m, blobs := schema2Of(t, img)
	content, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for digest, blob := range blobs {
		writeFile(t, filepath.Join(dir, "blobs", digest), blob)
	}
	for _, name := range []string{"latest", "v1", digestOf(content)} {
		writeFile(t, filepath.Join(dir, "manifests", name), string(content))
	}

	kubo := newKubo(t)
	caddy := newCaddy(t, "ipfs_registry "+kubo.gateway)
	cid := ipfs(t, kubo.repo, "add", "--recursive", "--quieter", "--cid-version=1", dir)
	for _, tag := range []string{"", ":v1"} {
		img.mustBe(t, pullByDocker(t, caddy.host()+"/"+cid+tag))
	}
}

// schema2Of is the image's manifest and its blobs by their digests, as both
// programs made them, but for the order of the manifest's keys.
func schema2Of(t *testing.T, img image) (m map[string]any, blobs map[string]string) {
	t.Helper()
	a := readArchive(t, img.archive)
	saved := a.saved(t)
	blobs = map[string]string{}
	add := func(mediaType string, content []byte) descriptor {
		digest := digestOf(content)
		blobs[digest] = string(content)
		return descriptor{mediaType, len(content), digest}
	}
	var layers []descriptor
	for _, layer := range saved.Layers {
		layers = append(layers, add(gzippedTars, gzipped(t, a.file(t, layer))))
	}
	return map[string]any{
		"schemaVersion": 2,
		"mediaType":     schema2,
		"config":        add(configType, a.file(t, saved.Config)),
		"layers":        layers,
	}, blobs
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}
