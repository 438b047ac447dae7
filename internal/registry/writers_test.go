package registry

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// writes are requests that change something.
var writes = []struct{ method, path string }{
	{http.MethodPost, "/v2/app/blobs/uploads/"},
	{http.MethodPost, "/v2/app/blobs/uploads/?digest=" + aDigest},
	{http.MethodPost, "/v2/app/blobs/uploads/?from=app&mount=" + aDigest},
	{http.MethodPatch, "/v2/app/blobs/uploads/x"},
	{http.MethodPut, "/v2/app/blobs/uploads/x?digest=" + aDigest},
	{http.MethodDelete, "/v2/app/blobs/uploads/x"},
	{http.MethodDelete, "/v2/app/blobs/" + aDigest},
	{http.MethodPut, "/v2/app/manifests/v1"},
	{http.MethodDelete, "/v2/app/manifests/v1"},
	{http.MethodDelete, "/v2/app/manifests/" + aDigest},
}

// Without a user, nothing changes, unless everybody may push.
func TestOnlyUsersPush(t *testing.T) {
	s := newSite(t, setup{stores: []string{t.TempDir()}, push: &Push{}})
	for _, write := range writes {
		resp := checkError(t, s, write.method, write.path, "UNAUTHORIZED", 401)
		if got := resp.Header.Get("WWW-Authenticate"); got != `Basic realm="push", charset="UTF-8"` {
			t.Errorf("%s %s: WWW-Authenticate: %q", write.method, write.path, got)
		}
	}
	if n := len(s.logged("a client tried to push, and nothing authenticates clients before 'ipfs_registry': 'basic_auth' does, or something like it")); n != 1 {
		t.Errorf("the log says %d times that nobody is authenticated", n)
	}
	s.get(t, 200, "/v2/")
	s.get(t, 404, "/v2/app/manifests/v1")
	s.change(t, 202, http.MethodPost, "/v2/app/blobs/uploads/", nil, "X-Test-User", "alice")
}

// A page of another site cannot make its reader's browser push.
func TestOtherSitesPushNothing(t *testing.T) {
	s := newPush(t)
	own := "http://" + strings.TrimPrefix(s.URL, "http://")
	for _, write := range writes {
		for _, header := range [][]string{
			{"Sec-Fetch-Site", "cross-site"},
			{"Sec-Fetch-Site", "same-site"},
			{"Sec-Fetch-Site", "cross-site", "Origin", own},
			{"Origin", "https://evil.example"},
			{"Origin", "null"},
		} {
			resp, body, err := s.do(t, write.method, write.path, append(header, "X-Test-User", "alice")...)
			if err != nil || resp.StatusCode != 403 || write.method != http.MethodHead && !strings.Contains(string(body), "DENIED") {
				t.Errorf("%s %s %q: %s, %s, %v", write.method, write.path, header, resp.Status, body, err)
			}
		}
	}
	s.change(t, 202, http.MethodPost, "/v2/app/blobs/uploads/", nil, "Origin", own, "Sec-Fetch-Site", "same-origin")
	s.change(t, 202, http.MethodPost, "/v2/app/blobs/uploads/", nil, "Origin", own)
	s.change(t, 202, http.MethodPost, "/v2/app/blobs/uploads/", nil, "Sec-Fetch-Site", "none")
}

// What an address or a reserved name begins with cannot be pushed to, and the answer says
// why.
func TestNamesThatCannotBePushedTo(t *testing.T) {
	s := newPush(t)
	for repository, why := range map[string]string{
		aCID:               "address",
		aCID + "/app":      "address",
		aBafy + "/app":     "address",
		"ipfs/" + aCID:     "address",
		aKey:               "address",
		aKey + "/app":      "address",
		"ipfs/" + aKey:     "address",
		"ipns/" + aCID:     "address",
		"ipns/" + aKey:     "address",
		"ipns/example.com": "address",
		"ipfs/app":         "reserved",
		"ipns/app":         "reserved",
		"v2/app":           "reserved",
		"routing/app":      "reserved",
		"ipfs":             "reserved",
	} {
		for _, write := range []struct{ method, path string }{
			{http.MethodPost, "/blobs/uploads/"},
			{http.MethodPut, "/manifests/v1"},
			{http.MethodDelete, "/manifests/v1"},
		} {
			resp, body, err := s.do(t, write.method, "/v2/"+repository+write.path)
			if err != nil || resp.StatusCode != 403 || !strings.Contains(string(body), "DENIED") || !strings.Contains(string(body), why) {
				t.Errorf("%s %s%s: %s, %s, %v", write.method, repository, write.path, resp.Status, body, err)
			}
		}
	}
	for _, repository := range []string{"App", "a/blobs", "a//b", strings.Repeat("a", 200), strings.Repeat("a", 256)} {
		checkError(t, s, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "NAME_INVALID", 400)
	}
	for _, tag := range []string{"latest-v1", "latest-v2"} {
		checkError(t, s, http.MethodPut, "/v2/app/manifests/"+tag, "DENIED", 403)
	}
}

// Methods that have no meaning are answered with those that have one.
func TestMethodsOfWhatCanBePushed(t *testing.T) {
	s := newPush(t)
	for _, test := range []struct{ method, path, allow string }{
		{http.MethodPost, "/v2/", "GET, HEAD"},
		{http.MethodPut, "/v2/_catalog", "GET, HEAD"},
		{http.MethodDelete, "/v2/app/tags/list", "GET, HEAD"},
		{http.MethodPost, "/v2/app/referrers/" + aDigest, "GET, HEAD"},
		{http.MethodPost, "/v2/app/manifests/v1", "DELETE, GET, HEAD, PUT"},
		{http.MethodPut, "/v2/app/blobs/" + aDigest, "DELETE, GET, HEAD"},
		{http.MethodGet, "/v2/app/blobs/uploads/", "POST"},
		{http.MethodHead, "/v2/app/blobs/uploads/x", "DELETE, GET, PATCH, PUT"},
		{http.MethodOptions, "/v2/app/blobs/uploads/x", "DELETE, GET, PATCH, PUT"},
	} {
		resp := checkError(t, s, test.method, test.path, "UNSUPPORTED", 405)
		if got := resp.Header.Get("Allow"); got != test.allow {
			t.Errorf("%s %s: Allow: %q, want %q", test.method, test.path, got, test.allow)
		}
	}
}

// A blob of one repository is no blob of another one: its digest alone is worth nothing.
func TestBlobsOfOtherRepositories(t *testing.T) {
	im := imagestest.New(t)
	dir := im.Store(t)
	s := newSite(t, setup{stores: []string{dir}, push: &Push{Anonymous: true, Mount: []string{"base", "os/*"}}})
	secret := s.upload(t, "team/secret", []byte("a secret"))
	s.upload(t, "base", []byte("a base"))
	s.upload(t, "os/debian", []byte("a system"))
	config := s.upload(t, "other/app", []byte("{}"))

	for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodDelete} {
		resp, _, err := s.do(t, method, "/v2/other/app/blobs/"+secret.String())
		if err != nil || resp.StatusCode != 404 {
			t.Errorf("%s: %s, %v", method, resp.Status, err)
		}
	}
	resp, body, err := s.send(t, http.MethodPut, "/v2/other/app/manifests/v1", bytes.NewReader(imageOf(config, secret)), "Content-Type", v1.MediaTypeImageManifest)
	if err != nil || resp.StatusCode != 404 || !strings.Contains(string(body), "MANIFEST_BLOB_UNKNOWN") || !strings.Contains(string(body), secret.String()) {
		t.Errorf("%s, %s, %v", resp.Status, body, err)
	}
	s.get(t, 404, "/v2/other/app/manifests/v1")

	stored := digest.FromBytes(im.Layer)
	for _, test := range []struct {
		to, from string
		blob     digest.Digest
		status   int
	}{
		{"other/app", "team/secret", secret, 202},
		{"other/app", "", secret, 202},
		{"other/app", "absent", secret, 202},
		{"other/app", "Team", secret, 202},
		{"team/app", "team/secret", secret, 201},
		{"other/app", "base", digest.FromString("a base"), 201},
		{"other/app", "os/debian", digest.FromString("a system"), 201},
		{"other/app", "os/debian", secret, 202},
		{"other/app", im.Repository(t, ours), stored, 201},
		{"other/app", im.Repository(t, ours), secret, 202},
		{"third/app", aCID + "/app", stored, 202},
		{"third/app", "ipns/" + aKey, stored, 202},
	} {
		resp := s.change(t, test.status, http.MethodPost, "/v2/"+test.to+"/blobs/uploads/?mount="+test.blob.String()+"&from="+test.from, nil)
		there := 200
		if test.status != 201 {
			there = 404
			if location := resp.Header.Get("Location"); !strings.HasPrefix(location, "/v2/"+test.to+"/blobs/uploads/") {
				t.Errorf("%+v: Location: %s", test, location)
			}
		}
		resp, _, err := s.do(t, http.MethodHead, "/v2/"+test.to+"/blobs/"+test.blob.String())
		if err != nil || resp.StatusCode != there && test.blob != secret {
			t.Errorf("%+v: %s, %v", test, resp.Status, err)
		}
	}
}

// Clients can neither push nor mount what a deny list names. The own root needs no allow
// list.
func TestListsAndPush(t *testing.T) {
	cidOf := func(content []byte) string {
		c := unixfs.V1.NewCutter()
		c.Write(content)
		f, err := unixfs.V1.Layout(c.Table())
		if err != nil {
			t.Fatal(err)
		}
		return f.CID.String()
	}
	layer, manifest := []byte("denied"), imageOf(digest.FromString("{}"), digest.FromString("a layer"))
	s := newSite(t, setup{
		stores: []string{t.TempDir()}, push: &Push{Anonymous: true},
		deny: "/ipfs/" + cidOf(layer) + "\n/ipfs/" + cidOf(manifest), allow: aCID,
	})
	d := digest.FromBytes(layer).String()
	s.change(t, 410, http.MethodPost, "/v2/app/blobs/uploads/?digest="+d, layer)
	s.get(t, 404, "/v2/app/blobs/"+d)
	s.upload(t, "app", []byte("{}"))
	s.upload(t, "app", []byte("a layer"))
	s.change(t, 410, http.MethodPut, "/v2/app/manifests/v1", manifest, "Content-Type", v1.MediaTypeImageManifest)
	s.pushImage(t, "app", "v2", []byte("another layer"))
	s.get(t, 200, "/v2/app/manifests/v2")
	s.get(t, 200, "/v2/app/tags/list")
	s.get(t, 200, "/v2/app/blobs/"+digest.FromString("another layer").String())
}

// Manifests that clients would not get back as they were are refused.
func TestManifestsThatCannotBePushed(t *testing.T) {
	s := newPush(t)
	config, layer := s.upload(t, "app", []byte("{}")), s.upload(t, "app", []byte("a layer"))
	image := imageOf(config, layer)
	for _, test := range []struct {
		reference, content, mediaType, code string
		status                              int
	}{
		{"v1", "", v1.MediaTypeImageManifest, "MANIFEST_INVALID", 400},
		{"v1", "<html>", v1.MediaTypeImageManifest, "MANIFEST_INVALID", 400},
		{"v1", "[]", v1.MediaTypeImageManifest, "MANIFEST_INVALID", 400},
		{"v1", `{"schemaVersion":1}`, "application/vnd.docker.distribution.manifest.v1+json", "MANIFEST_INVALID", 400},
		{"v1", string(image), v1.MediaTypeImageIndex, "MANIFEST_INVALID", 400},
		{aDigest, string(image), v1.MediaTypeImageManifest, "DIGEST_INVALID", 400},
		{"sha256:12", string(image), v1.MediaTypeImageManifest, "DIGEST_INVALID", 400},
		{digest.FromBytes(image).String() + "?tag=.v1", string(image), v1.MediaTypeImageManifest, "MANIFEST_INVALID", 400},
		{"v1?tag=v2", string(image), v1.MediaTypeImageManifest, "UNSUPPORTED", 400},
		{"v1", string(imageOf(config, digest.FromString("absent"))), v1.MediaTypeImageManifest, "MANIFEST_BLOB_UNKNOWN", 404},
	} {
		resp, body, err := s.send(t, http.MethodPut, "/v2/app/manifests/"+test.reference, strings.NewReader(test.content), "Content-Type", test.mediaType)
		if err != nil || resp.StatusCode != test.status || !strings.Contains(string(body), test.code) {
			t.Errorf("%+v: %s, %s, %v", test, resp.Status, body, err)
		}
	}
	s.get(t, 404, "/v2/app/tags/list")
	s.put(t, "app", "v1", image)
	s.change(t, 201, http.MethodPut, "/v2/app/manifests/v2", image, "Content-Type", v1.MediaTypeImageManifest+"; charset=utf-8")
	s.change(t, 201, http.MethodPut, "/v2/app/manifests/v3", image)
}
