package clients

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The demo's image, converted and served from the store, passes a client that checks
// every digest and size. This test needs only Go, so it runs everywhere.
func TestDemoImageIsValidForGoClient(t *testing.T) {
	harness.Parallel(t)
	program := filepath.Join(t.TempDir(), "hello")
	build := exec.Command("go", "build", "-o", program, "../demo/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	harness.Run(t, build)
	archive := filepath.Join(t.TempDir(), "hello.tar")
	harness.WriteFile(t, archive, harness.Run(t, exec.Command("go", "run", "../demo/image", "demo/hello:1.0", program)))

	store := t.TempDir()
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
	ref, err := name.ParseReference(harness.Convert(t, archive, "--store="+store, "--registry="+caddy.URL))
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Errorf("%d layers, %v; want 1", len(layers), err)
	}
}
