package tests

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
)

// The clients that people have pull through gateways that only serve what can
// be verified, as most public ones, and through gateways that are reached by
// HTTPS.
func TestPullFromOtherGateways(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	address := root(t, convert(t, img.archive, "--ipfs-api="+kubo.api))
	trustlessNode := newTrustlessKubo(t, kubo, cidV1(t, address))
	if status := get(t, trustlessNode.gateway+"/ipfs/"+cidV1(t, address)+"/"+imageName+"/manifests/v1").StatusCode; status == http.StatusOK {
		t.Fatal("the trustless-only node serves files as they are")
	}
	secure, certificate := newTLSGateway(t, kubo)
	for _, gateways := range []struct{ name, directive string }{
		{"trustless-only", "gateway " + trustlessNode.gateway},
		{"HTTPS", fmt.Sprintf("gateway %s {\ntransport http {\ntls_trust_pool file %s\n}\n}", secure, certificate)},
		{"HTTPS unverified", fmt.Sprintf("gateway %s {\ntransport http {\ntls_insecure_skip_verify\n}\n}", secure)},
	} {
		t.Run(gateways.name, func(t *testing.T) {
			caddy := newCaddy(t, "ipfs_registry {\n"+gateways.directive+"\n}")
			ref := caddy.host() + "/" + address + "/" + imageName
			for _, client := range clients {
				switch client.name {
				case "docker", "skopeo", "ctr":
					t.Run(client.name, func(t *testing.T) { img.mustBe(t, client.pull(t, ref)) })
				}
			}
		})
	}
	t.Run("a certificate of nobody's", func(t *testing.T) {
		caddy := newCaddy(t, "ipfs_registry {\ngateway "+secure+"\n}")
		resp := get(t, caddy.registry+"/v2/"+address+"/"+imageName+"/manifests/v1")
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(caddy.log.String(), "certificate") {
			t.Errorf("%s\n%s", resp.Status, resp.body)
		}
	})
}

// newTLSGateway puts HTTPS in front of a node, as public gateways do, and
// returns its URL and the file with its certificate.
func newTLSGateway(t *testing.T, k *kubo) (gateway, certificate string) {
	t.Helper()
	node, err := url.Parse(k.gateway)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(node))
	s.Config.ErrorLog = discard // of handshakes that fail
	s.StartTLS()
	t.Cleanup(s.Close)
	certificate = filepath.Join(t.TempDir(), "gateway.crt")
	writeFile(t, certificate, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.URL, certificate
}
