package lies

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// If the only gateway lies about a blob, Docker's pull fails, and no client gets a wrong
// byte. The log names the gateway and the blob, and Caddy serves on. Beside an honest
// gateway, Docker notices nothing.
func TestLyingGatewayCostsThePullAndNoByte(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	node := harness.NewKubo(t)
	server := newLyingServer(t, node, node, []lie{changedByte})
	liar := server.gateway(full, 0, "liar")
	alone := harness.NewCaddy(t, "ipfs_registry "+liar)
	beside := harness.NewCaddy(t, "ipfs_registry {\ngateway "+server.gateway(full, 0, "beside")+"\ngateway "+node.Gateway+"\n}")
	ref := harness.Convert(t, img.Archive, "--ipfs-api="+node.API, "--registry="+alone.URL)

	d := harness.NewDocker(t, "--max-download-attempts=1")
	if out, _, err := harness.Try(d.Command("pull", ref)); err == nil {
		t.Errorf("docker pulled from a gateway that lies:\n%s", out)
	}
	if server.account(full, 0, "liar").lies == 0 {
		t.Fatal("the gateway told no lie")
	}
	m, _ := harness.FetchManifest(t, strings.Replace(ref, alone.Host(), beside.Host(), 1))
	layersMustBeWholeOrNone(t, ref, m)
	alone.Await(t, "an error that names "+liar+" and a layer", func() bool {
		return blamed(alone.Log.String(), liar, m)
	})
	alone.MustAnswer(t)

	ref = strings.Replace(ref, alone.Host(), beside.Host(), 1)
	d.Run(t, "pull", ref)
	d.MustRun(t, ref)
	img.MustBe(t, d.ID(t, ref))
	if server.account(full, 0, "beside").lies == 0 {
		t.Error("beside an honest gateway, the gateway told no lie")
	}
}

// changedByte is a lie about every answer: it changes the byte in the middle.
var changedByte = lie{name: "middle byte changed", mode: full, every: true, place: anywhere, tell: func(l *lieBeingTold) { l.change(middle) }}

// layersMustBeWholeOrNone fetches each layer as a client that checks no digest. It fails
// the test if an answer that is complete by its Content-Length has wrong content.
func layersMustBeWholeOrNone(t *testing.T, ref string, m harness.Manifest) {
	t.Helper()
	for _, layer := range m.Layers {
		resp, err := harness.Fetch(harness.Repository(ref) + "/blobs/" + layer.Digest)
		if err == nil && resp.StatusCode != http.StatusBadGateway && harness.DigestOf([]byte(resp.Text)) != layer.Digest {
			t.Errorf("%s is answered with %d and wrong content", layer.Digest, resp.StatusCode)
		}
	}
}

// blamed reports whether Caddy's log has an error that names the gateway and one of the
// layers.
func blamed(log, gateway string, m harness.Manifest) bool {
	host := strings.TrimPrefix(gateway, "http://")
	for line := range strings.Lines(log) {
		var entry struct{ Level string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Level != "error" || !strings.Contains(line, host) {
			continue
		}
		if slices.ContainsFunc(m.Layers, func(d harness.Descriptor) bool { return strings.Contains(line, d.Digest) }) {
			return true
		}
	}
	return false
}
