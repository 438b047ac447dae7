package origin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ipfs/go-cid"
)

// A node's RPC API and a registry are named where they are given as gateways. A gateway
// that lacks a block is not taken for either.
func TestOtherServicesAreToldFromGateways(t *testing.T) {
	root := cid.MustParse("bafybeiemubpxrd4g74pzywujnoix6mouqf6culv4jsbaah5foeqlirx7de")
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  Service
	}{
		"node": {func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			io.WriteString(w, `{"Version":"0.38.1","Commit":"","Repo":"18","System":"amd64/linux","Golang":"go1.26"}`)
		}, NodeAPI},
		"registry": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			if r.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusNotFound)
			}
		}, Registry},
		"gateway": {http.NotFound, 0},
	} {
		server := httptest.NewServer(test.serve)
		defer server.Close()
		from, err := FromGateways([]Gateway{{URL: server.URL}}, t.Logf)
		if err != nil {
			t.Fatal(err)
		}
		_, err = from.Block(t.Context(), root)
		found, ok := errors.AsType[*NotGatewayError](err)
		if err == nil || ok != (test.want != 0) || ok && found.Is != test.want {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
