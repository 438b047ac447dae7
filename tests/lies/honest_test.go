package lies

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Docker, skopeo and containerd pull through trustless-only gateways, as most public ones
// are, and through gateways with HTTPS. A gateway whose certificate is not trusted is not
// used.
func TestClientsPullFromTrustlessAndHTTPSGateways(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	kubo := harness.NewKubo(t)
	address := harness.RootOf(t, harness.Convert(t, img.Archive, "--ipfs-api="+kubo.API))
	trustlessNode := newTrustlessKubo(t, kubo, harness.CIDv1(t, address))
	if status := harness.Get(t, trustlessNode.Gateway+"/ipfs/"+harness.CIDv1(t, address)+"/"+harness.ImageName+"/manifests/v1").StatusCode; status == http.StatusOK {
		t.Fatal("the trustless-only node serves plain files")
	}
	secure, certificate := newTLSGateway(t, kubo)
	for _, gateways := range []struct{ name, directive string }{
		{"trustless-only", "gateway " + trustlessNode.Gateway},
		{"HTTPS", fmt.Sprintf("gateway %s {\ntransport http {\ntls_trust_pool file %s\n}\n}", secure, certificate)},
		{"HTTPS unverified", fmt.Sprintf("gateway %s {\ntransport http {\ntls_insecure_skip_verify\n}\n}", secure)},
	} {
		t.Run(gateways.name, func(t *testing.T) {
			caddy := harness.NewCaddy(t, "ipfs_registry {\n"+gateways.directive+"\n}")
			ref := caddy.Host() + "/" + address + "/" + harness.ImageName
			for _, client := range harness.Clients {
				switch client.Name {
				case "docker", "skopeo", "ctr":
					t.Run(client.Name, func(t *testing.T) { img.MustBe(t, client.Pull(t, ref)) })
				}
			}
		})
	}
	t.Run("untrusted certificate", func(t *testing.T) {
		caddy := harness.NewCaddy(t, "ipfs_registry {\ngateway "+secure+"\n}")
		resp := harness.Get(t, caddy.URL+"/v2/"+address+"/"+harness.ImageName+"/manifests/v1")
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(caddy.Log.String(), "certificate") {
			t.Errorf("%s\n%s", resp.Status, resp.Text)
		}
	})
}

// newTLSGateway starts a gateway with HTTPS in front of a node. It returns the gateway's
// URL and a file with its certificate.
func newTLSGateway(t *testing.T, k *harness.Kubo) (gateway, certificate string) {
	t.Helper()
	node, err := url.Parse(k.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(node))
	s.Config.ErrorLog = discard // handshakes fail on purpose
	s.StartTLS()
	t.Cleanup(s.Close)
	certificate = filepath.Join(t.TempDir(), "gateway.crt")
	harness.WriteFile(t, certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.URL, certificate
}
