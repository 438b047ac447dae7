package gateway

import (
	"net/http"
	"strings"
	"testing"
)

// The error says which kind of server stands in a gateway's place.
func TestErrorNamesWhatIsNoGateway(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header http.Header
		length int64
		want   string
	}{
		"API of Kubo":  {404, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, 19, "port 5001"},
		"a registry":   {404, http.Header{"Docker-Distribution-Api-Version": {"registry/2.0"}}, 40, "a container registry"},
		"its own 500":  {500, http.Header{"Docker-Distribution-Api-Version": {"registry/2.0"}}, 40, "a container registry"},
		"a gateway":    {404, http.Header{"X-Ipfs-Path": {"/ipfs/x"}}, 19, ""},
		"gateway, 504": {504, http.Header{}, 19, ""},
	} {
		resp := &http.Response{StatusCode: test.status, Status: http.StatusText(test.status), Header: test.header, ContentLength: test.length}
		err := usable(resp)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if hinted := strings.Contains(err.Error(), "no IPFS gateway"); hinted != (test.want != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
