package source

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
)

const patience = 50 * time.Millisecond

// wait sends the beginning of an answer, and then nothing.
func wait(beginning []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Write(beginning)
		http.NewResponseController(w).Flush()
		<-req.Context().Done()
	}
}

func silence(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }

func TestSilentRegistryIsGivenUp(t *testing.T) {
	layer := testimage.Gzipped([]byte("a layer"))
	blob := testimage.Describe(v1.MediaTypeImageLayerGzip, layer)
	m := testimage.Marshal(testimage.ImageManifest([]byte("{}"), v1.MediaTypeEmptyJSON, layer))
	for at, handler := range map[string]http.HandlerFunc{
		"/v2/":                                  silence,
		"/v2/app/manifests/1":                   silence,
		"/v2/app/blobs/" + blob.Digest.String(): wait(layer[:1]),
		"/v2/app/blobs/" + blob.Digest.String() + "?": silence,
	} {
		t.Run(at, func(t *testing.T) {
			at = strings.TrimSuffix(at, "?")
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				switch req.URL.Path {
				case at:
					handler(w, req)
				case "/v2/app/manifests/1":
					w.Write(m)
				}
			}))
			defer server.Close()
			src := registrySource{strings.TrimPrefix(server.URL, "http://") + "/app:1", true, patience}
			l, err := src.Open(workspace(t))
			if err == nil {
				_, err = l.Blob(blob)
			}
			if !errors.Is(err, remote.ErrSilent) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func TestDockerThatStopsInTheMiddleIsGivenUp(t *testing.T) {
	archive := testimage.OldDocker(testimage.New([]string{"app:1.0"}, testimage.Layer("a", 300_000)))
	server := httptest.NewServer(wait(archive[:len(archive)/2]))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("DOCKER_HOST", "tcp://"+address)
	t.Setenv("DOCKER_TLS_VERIFY", "")
	_, err := dockerSource{"app", patience}.Open(workspace(t))
	if !errors.Is(err, remote.ErrSilent) || !strings.Contains(err.Error(), address) {
		t.Errorf("the error is %v", err)
	}
}
