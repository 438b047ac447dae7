package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// An Image is an image that Docker built for the tests.
type Image struct {
	Archive string // the file that docker save wrote
	ID      string // the digest of the config
}

// ImageName is the image's name, without a tag. Greeting is what the image prints.
const (
	ImageName = "team/app"
	Greeting  = "it came back"
)

// The two layers with greeting.txt have the same bytes, so Docker before version 25
// saves the second as a link to the first. All other layers differ.
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

// DockerImage returns the image. The first test of a package that needs it builds it.
func DockerImage(t *testing.T) Image {
	t.Helper()
	Need(t, "root", "dockerd", "docker", "unshare", "busybox")
	buildOnce.Do(func() { built = buildImage(t) })
	if built.ID == "" {
		t.Fatal("the first test that needed the image could not build it")
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
	archive := Shared("image.tar")
	d.Run(t, "save", "--output="+archive, ImageName+":v1")
	return Image{Archive: archive, ID: d.ID(t, ImageName+":v1")}
}

// MustBe fails the test unless an ID, such as that of a pulled image, is the image's.
func (img Image) MustBe(t *testing.T, id string) {
	t.Helper()
	if id != img.ID {
		t.Errorf("got the image %s, want %s", id, img.ID)
	}
}
