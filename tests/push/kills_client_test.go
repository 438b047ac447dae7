package push

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A client pushes to a repository of its own on a Caddy that may be killed, and notes the
// answers. Each answer that it receives must be right.
type client struct {
	t          *testing.T
	host       string // the URL of the Caddy
	repository string // its path
	http       *http.Client
	told       *told
}

// push pushes an image and pulls it. It deletes every third image. It reports whether it
// received all answers.
func (c *client) push(i int) bool {
	config, layer := "{}", fmt.Sprintf("layer %d of %s", i, c.repository)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		harness.DigestOf([]byte(config)), len(config), harness.DigestOf([]byte(layer)), len(layer))
	byTag := fmt.Sprintf("%s/manifests/v%d", c.repository, i)
	byDigest := c.repository + "/manifests/" + harness.DigestOf([]byte(manifest))
	blob := c.repository + "/blobs/" + harness.DigestOf([]byte(layer))
	for _, content := range []string{config, layer} {
		at := c.repository + "/blobs/uploads/?digest=" + harness.DigestOf([]byte(content))
		if _, ok := c.send(http.StatusCreated, "POST", at, content); !ok {
			return false
		}
	}
	if _, ok := c.send(http.StatusCreated, "PUT", byTag, manifest); !ok {
		return false
	}
	if i%3 != 2 {
		c.told.mu.Lock()
		c.told.manifests[byTag], c.told.manifests[byDigest], c.told.layers[blob] = manifest, manifest, layer
		c.told.mu.Unlock()
		return c.pull(byTag, manifest) && c.pull(blob, layer)
	}
	if _, ok := c.send(http.StatusAccepted, "DELETE", byDigest, ""); !ok {
		return false
	}
	c.told.mu.Lock()
	defer c.told.mu.Unlock()
	c.told.deleted[byTag], c.told.deleted[byDigest] = true, true
	return true
}

func (c *client) pull(path, content string) bool {
	resp, ok := c.send(http.StatusOK, "GET", path, "")
	if ok && resp.content != content {
		c.t.Errorf("%s has %q, want %q", path, resp.content, content)
	}
	return ok
}

// An upload is a blob that comes in many requests.
type upload struct {
	location     string // its path
	acknowledged int    // bytes, by the answers that came
}

// Each upload sends uploadOf from its beginning on, uploadPart bytes in a request.
var (
	uploadOf   = harness.Noise(64 << 20)
	uploadPart = 100_000
)

// upload begins an upload, and continues it until a request gets no answer.
func (c *client) upload(u *upload) {
	resp, ok := c.send(http.StatusAccepted, "POST", c.repository+"/blobs/uploads/", "")
	u.location = resp.Header.Get("Location")
	for ok && u.acknowledged+uploadPart < len(uploadOf) {
		part := uploadOf[u.acknowledged:][:uploadPart]
		if _, ok = c.send(http.StatusAccepted, "PATCH", u.location, part); ok {
			u.acknowledged += uploadPart
		}
	}
}

// goOn continues an upload at the offset that the registry reports, and finishes it.
func (c *client) goOn(u *upload) {
	var size int
	resp, _ := c.send(http.StatusNoContent, "GET", u.location, "")
	if _, err := fmt.Sscanf(resp.Header.Get("Range"), "0-%d", &size); err != nil {
		c.t.Fatalf("the range of an upload is %q", resp.Header.Get("Range"))
	}
	if size++; size < u.acknowledged || size > len(uploadOf) {
		c.t.Fatalf("an upload has %d bytes, and the registry had acknowledged %d", size, u.acknowledged)
	}
	end := min(size+uploadPart, len(uploadOf))
	d := harness.DigestOf([]byte(uploadOf[:end]))
	c.send(http.StatusCreated, "PUT", u.location+"?digest="+d, uploadOf[size:end])
	c.pull(c.repository+"/blobs/"+d, uploadOf[:end])
}

// An answer is an answer with its content, which is empty if none came.
type answer struct {
	http.Header
	content string
}

// send sends a request, and reports whether an answer came. It must have the status.
func (c *client) send(status int, method, path, content string) (answer, bool) {
	req, err := http.NewRequest(method, c.host+path, strings.NewReader(content))
	if err != nil {
		c.t.Error(err)
		return answer{}, false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, false
	}
	if resp.StatusCode != status {
		c.t.Errorf("%s %s: %s, want %d\n%s", method, path, resp.Status, status, body)
	}
	return answer{resp.Header, string(body)}, true
}
