package tests

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Publish later, carry into a closed network: from the store to a CAR, from
// there onto a node, from the node into another store, an image keeps its
// address and is pulled from both ends.
func TestCopy(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	first, last := t.TempDir(), t.TempDir()
	car := filepath.Join(t.TempDir(), "image.car")
	ref := convert(t, img.archive, "--store="+first)
	address := root(t, ref)

	for _, args := range [][]string{
		{ref, "--from", first, "--car", car},
		{"--from", car, "--ipfs-api", kubo.api},
		{address, "--from", kubo.api, "--store", last},
	} {
		if got := copied(t, args...); root(t, got) != address {
			t.Errorf("copy %v prints %s", args, got)
		}
	}
	mustBePinned(t, kubo.repo, address, imageName+":v1")
	for name, directive := range map[string]string{"node": "ipfs_registry " + kubo.gateway, "store": "ipfs_registry {\nstore " + last + "\n}"} {
		t.Run(name, func(t *testing.T) {
			c := newCaddy(t, directive)
			img.mustBe(t, pullByCrane(t, c.host()+"/"+address+"/"+imageName))
			img.mustBe(t, pullBySkopeo(t, c.host()+"/"+address+"/"+imageName))
		})
	}
}

// One address can hold a family of images and tags.
func TestOnto(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	store := t.TempDir()
	address := root(t, convert(t, img.archive, "--store="+store))
	both := convert(t, img.archive, "--store="+store, "--onto="+address, "--name=team/other", "--tag=v2")
	family := strings.Split(both, "/")[1]
	if family == address || !strings.HasSuffix(both, "/team/other") {
		t.Fatalf("put onto %s it is %s", address, both)
	}
	c := newCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
	for _, name := range []string{imageName, imageName + ":v1", "team/other:v2", "team/other"} {
		img.mustBe(t, pullByCrane(t, c.host()+"/"+family+"/"+name))
	}
	if tags := run(t, exec.Command(inRepo("bin/converter"), "images", "--store="+store)); strings.Count(tags, family) != 2 {
		t.Errorf("the store's images are\n%s", tags)
	}
}

// copied runs converter copy and gives back the reference that it prints.
func copied(t *testing.T, args ...string) string {
	t.Helper()
	needs(t, "bin/converter")
	return runForLine(t, exec.Command(inRepo("bin/converter"), append([]string{"copy"}, args...)...))
}
