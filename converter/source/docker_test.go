package source

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
)

// An image is read from the Docker of the context in use, as docker itself does.
func TestDockerOfTheContextInUseIsAsked(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	daemon := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/images/get" || r.URL.Query().Get("names") != "app:1.0" {
			http.Error(w, `{"message":"no such image"}`, http.StatusNotFound)
			return
		}
		w.Write(testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 10))))
	}))
	daemon.Listener.Close()
	daemon.Listener = listener
	daemon.Start()
	defer daemon.Close()
	for path, data := range map[string]string{
		"config.json": `{"currentContext":"colima"}`,
		filepath.Join("contexts", "meta", digest.FromString("colima").Encoded(), "meta.json"): `{"Name":"colima","Endpoints":{"docker":{"Host":"unix://` + socket + `"}}}`,
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("DOCKER_CONTEXT", "")
	t.Setenv("DOCKER_HOST", "")
	l, err := FromDocker("app:1.0").Open(workspace(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(l.DockerList) != 1 || l.DockerList[0].RepoTags[0] != "app:1.0" {
		t.Errorf("Docker has %v", l.DockerList)
	}
}
