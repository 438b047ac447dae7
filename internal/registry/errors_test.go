package registry

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// Every answer that is an error of the protocol, by GET and by HEAD.
func TestErrors(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, stored(t, im))
	image := "/v2/" + im.Repository(t, ours)
	for _, test := range []struct {
		path, code string
		status     int
	}{
		{"/v2/" + aCID + "/Foo/manifests/latest", "NAME_INVALID", 400},
		{"/v2/nginx/manifests/latest", "NAME_UNKNOWN", 404},
		{image + "/manifests/v2", "MANIFEST_UNKNOWN", 404},
		{image + "/manifests/.v2", "MANIFEST_UNKNOWN", 404},
		{image + "/manifests/sha256:" + aCID, "DIGEST_INVALID", 400},
		{"/v2/" + aCID + "/manifests/latest", "MANIFEST_UNKNOWN", 404},
		{image + "/blobs/sha256:" + aDigest[8:70] + "a", "DIGEST_INVALID", 400},
		{image + "/blobs/sha256:" + "00" + aDigest[9:], "BLOB_UNKNOWN", 404},
		{"/v2/" + aCID + "/tags/list", "NAME_UNKNOWN", 404},
		{image + "/tags/list?n=-1", "UNSUPPORTED", 400},
		{image + "/tags/list?n=many", "UNSUPPORTED", 400},
		{image + "/tags/list?n=", "UNSUPPORTED", 400},
		{image + "/referrers/" + aDigest[:70], "DIGEST_INVALID", 400},
		{"/v2/nginx/tags/list", "NAME_UNKNOWN", 404},
		{"/v2/nginx/referrers/" + aDigest, "NAME_UNKNOWN", 404},
		{"/v2/_catalog", "UNSUPPORTED", 404},
	} {
		checkError(t, s, http.MethodGet, test.path, test.code, test.status)
		checkError(t, s, http.MethodHead, test.path, test.code, test.status)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
		for _, path := range []string{"/v2/", image + "/blobs/uploads/", image + "/manifests/v1", "/v2/nginx/manifests/latest"} {
			resp := checkError(t, s, method, path, "UNSUPPORTED", 405)
			if allow := resp.Header.Get("Allow"); allow != "GET, HEAD" {
				t.Errorf("%s %s: Allow: %q", method, path, allow)
			}
		}
	}
	if len(s.errs) > 0 {
		t.Errorf("Caddy is told of a protocol answer: %v", <-s.errs)
	}
}

func checkError(t *testing.T, s *site, method, path, code string, status int) *http.Response {
	t.Helper()
	resp, body, err := s.do(t, method, path)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Errorf("%s %s: %s, want %d", method, path, resp.Status, status)
	}
	for name, want := range map[string]string{
		"Content-Type":                    "application/json",
		"Cache-Control":                   "no-store, no-transform",
		"Docker-Distribution-Api-Version": "registry/2.0",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s %s: %s: %q, want %q", method, path, name, got, want)
		}
	}
	if method == http.MethodHead {
		if n, err := strconv.Atoi(resp.Header.Get("Content-Length")); n == 0 || err != nil || len(body) > 0 {
			t.Errorf("%s %s: Content-Length %d, body %q", method, path, n, body)
		}
		return resp
	}
	var got struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(body, &got); err != nil || len(got.Errors) != 1 || got.Errors[0].Code != code || got.Errors[0].Message == "" {
		t.Errorf("%s %s: %s, %v; want %s", method, path, body, err, code)
	}
	if resp.ContentLength != int64(len(body)) {
		t.Errorf("%s %s: Content-Length %d of %d bytes", method, path, resp.ContentLength, len(body))
	}
	return resp
}
