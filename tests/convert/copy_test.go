package convert

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// An image keeps its address when it is copied from a store to a CAR file, from there to
// a node, and from the node to another store. It is pulled from the node and from the
// last store.
func TestCopyKeepsTheAddress(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	first, last := t.TempDir(), t.TempDir()
	car := filepath.Join(t.TempDir(), "image.car")
	ref := harness.Convert(t, img.Archive, "--store="+first)
	address := harness.RootOf(t, ref)

	for _, args := range [][]string{
		{ref, "--from", first, "--car", car},
		{"--from", car, "--ipfs-api", kubo.API},
		{address, "--from", kubo.API, "--store", last},
	} {
		if got := harness.Copy(t, args...); harness.RootOf(t, got) != address {
			t.Errorf("copy %v prints %s", args, got)
		}
	}
	mustBePinned(t, kubo.Repo, address, harness.ImageName+":v1")
	for name, directive := range map[string]string{"node": "ipfs_registry " + kubo.Gateway, "store": "ipfs_registry {\nstore " + last + "\n}"} {
		t.Run(name, func(t *testing.T) {
			c := harness.NewCaddy(t, directive)
			img.MustBe(t, harness.PullByCrane(t, c.Host()+"/"+address+"/"+harness.ImageName))
			img.MustBe(t, harness.PullBySkopeo(t, c.Host()+"/"+address+"/"+harness.ImageName))
		})
	}
}

// With --onto, one address has several images and tags.
func TestOntoAddsToAFamilyOfImages(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	store := t.TempDir()
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+store))
	both := harness.Convert(t, img.Archive, "--store="+store, "--onto="+address, "--name=team/other", "--tag=v2")
	family := strings.Split(both, "/")[1]
	if family == address || !strings.HasSuffix(both, "/team/other") {
		t.Fatalf("--onto=%s gives %s", address, both)
	}
	c := harness.NewCaddy(t, "ipfs_registry {\nstore "+store+"\n}")
	for _, name := range []string{harness.ImageName, harness.ImageName + ":v1", "team/other:v2", "team/other"} {
		img.MustBe(t, harness.PullByCrane(t, c.Host()+"/"+family+"/"+name))
	}
	if tags := harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "images", "--store="+store)); strings.Count(tags, family) != 2 {
		t.Errorf("converter images should list both images, and prints\n%s", tags)
	}
}
