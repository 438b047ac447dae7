package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// An Image is one that Docker built for the tests.
type Image struct {
	Archive string // the file that docker save wrote
	ID      string // the digest of its config
}

// ImageName is the image's name, and Greeting what it prints.
const (
	ImageName = "team/app"
	Greeting  = "it came back"
)

// The two layers with greeting.txt are equal to the byte, so Docker before 25 saves the
// second as a link to the first. All others differ.
const dockerfile = `
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY large /srv/large
COPY greeting.txt /greeting.txt
RUN rm /greeting.txt
COPY greeting.txt /greeting.txt
CMD ["cat", "/greeting.txt"]
`

var (
	buildOnce sync.Once
	built     Image
)

// DockerImage returns the image that the first test of the package to need it builds.
func DockerImage(t *testing.T) Image {
	t.Helper()
	Need(t, "root", "dockerd", "docker", "unshare", "busybox")
	buildOnce.Do(func() { built = buildImage(t) })
	if built.ID == "" {
		t.Fatal("no image: the first test that needed it could not build it")
	}
	return built
}

func buildImage(t *testing.T) Image {
	context := t.TempDir()
	WriteFile(t, filepath.Join(context, "Dockerfile"), dockerfile)
	WriteFile(t, filepath.Join(context, "greeting.txt"), Greeting+"\n")
	WriteFile(t, filepath.Join(context, "large"), Noise(3<<20))
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, filepath.Join(context, "busybox"), string(program))
	if err := os.Chmod(filepath.Join(context, "busybox"), 0o755); err != nil {
		t.Fatal(err)
	}

	d := NewDocker(t)
	d.Run(t, "build", "--network=none", "--tag="+ImageName+":v1", context)
	archive := filepath.Join(workDir, "image.tar")
	d.Run(t, "save", "--output="+archive, ImageName+":v1")
	return Image{Archive: archive, ID: d.ID(t, ImageName+":v1")}
}

// MustBe fails the test unless the ID of an image that came back is the image's.
func (img Image) MustBe(t *testing.T, id string) {
	t.Helper()
	if id != img.ID {
		t.Errorf("got the image %s, not %s", id, img.ID)
	}
}
