package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// An Image is what Docker built for the tests.
type Image struct {
	Archive string // the file that docker save wrote
	ID      string // the digest of its config
}

const (
	ImageName = "team/app"
	Greeting  = "it came back"
)

// Every layer differs but the two that bring greeting.txt, which are equal to
// the byte: Docker saves the second as a link to the first.
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

// DockerImage is the image, built by the first test that asks.
func DockerImage(t *testing.T) Image {
	t.Helper()
	Need(t, "root", "dockerd", "docker", "unshare", "busybox")
	buildOnce.Do(func() { built = buildImage(t) })
	if built.ID == "" {
		t.Fatal("there is no image: the first test that wanted it could not build it")
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

// MustBe fails the test when what came back isn't the image that went in.
func (img Image) MustBe(t *testing.T, id string) {
	t.Helper()
	if id != img.ID {
		t.Errorf("got the image %s, not %s", id, img.ID)
	}
}
