package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// newPush returns a site that everybody may push to.
func newPush(t *testing.T) *site {
	t.Helper()
	return newSite(t, setup{stores: []string{t.TempDir()}, push: &Push{Anonymous: true}})
}

// change sends a request that must be answered with the status.
func (s *site) change(t testing.TB, status int, method, path string, content []byte, header ...string) *http.Response {
	t.Helper()
	resp, answer, err := s.send(t, method, path, bytes.NewReader(content), header...)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s %s: %s, %v; want %d\n%s", method, path, resp.Status, err, status, answer)
	}
	return resp
}

// upload pushes a blob at once.
func (s *site) upload(t testing.TB, repository string, content []byte) digest.Digest {
	t.Helper()
	d := digest.FromBytes(content)
	s.change(t, 201, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+d.String(), content)
	return d
}

// put pushes a manifest.
func (s *site) put(t testing.TB, repository, reference string, manifest []byte) *http.Response {
	t.Helper()
	return s.change(t, 201, http.MethodPut, "/v2/"+repository+"/manifests/"+reference, manifest, "Content-Type", v1.MediaTypeImageManifest)
}

// pushImage pushes an image of one layer, and returns its manifest.
func (s *site) pushImage(t testing.TB, repository, tag string, layer []byte) []byte {
	t.Helper()
	manifest := imageOf(s.upload(t, repository, []byte("{}")), s.upload(t, repository, layer))
	s.put(t, repository, tag, manifest)
	return manifest
}

func imageOf(config, layer digest.Digest) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"application/octet-stream","digest":%q}]}`,
		v1.MediaTypeImageManifest, config, layer)
}

// Clients can pull a pushed image at once, by its name and by its address, and by nothing else.
func TestPushedImageCanBePulled(t *testing.T) {
	s := newPush(t)
	layer := imagestest.Random(700_001)
	manifest := imageOf(s.upload(t, "team/app", []byte("{}")), s.upload(t, "team/app", layer))
	d := digest.FromBytes(manifest)
	resp := s.put(t, "team/app", "v1", manifest)
	for field, want := range map[string]string{
		"Location":              "/v2/team/app/manifests/" + d.String(),
		"Docker-Content-Digest": d.String(),
		"Oci-Subject":           "",
		"Oci-Tag":               "",
	} {
		if got := resp.Header.Get(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	warning := resp.Header.Get("Warning")
	reference, ok := strings.CutPrefix(warning, `299 - "on IPFS this is `+strings.TrimPrefix(s.URL, "http://")+"/")
	address, name, _ := strings.Cut(strings.TrimSuffix(reference, `"`), "/")
	if !ok || name != "team/app:v1" || !strings.HasPrefix(resp.Header.Get("X-Ipfs-Path"), "/ipfs/bafy") {
		t.Fatalf("Warning: %s, X-Ipfs-Path: %s", warning, resp.Header.Get("X-Ipfs-Path"))
	}
	for _, repository := range []string{"team/app", address + "/team/app", strings.TrimPrefix(resp.Header.Get("X-Ipfs-Path"), "/ipfs/") + "/team/app"} {
		for path, want := range map[string][]byte{
			"/manifests/v1":                                     manifest,
			"/manifests/" + d.String():                          manifest,
			"/blobs/" + digest.FromBytes(layer).String():        layer,
			"/blobs/" + digest.FromString("{}").String():        []byte("{}"),
			"/blobs/" + digest.SHA512.FromString("{}").String(): nil,
		} {
			if want == nil {
				s.get(t, 404, "/v2/"+repository+path)
				continue
			}
			_, got := s.get(t, 200, "/v2/"+repository+path)
			if !bytes.Equal(got, want) {
				t.Errorf("%s%s: %d bytes", repository, path, len(got))
			}
		}
	}
	s.get(t, 404, "/v2/team/app/manifests/latest")
	s.get(t, 404, "/v2/team/manifests/v1")
	s.get(t, 404, "/v2/"+address+"/app/manifests/v1")
}

// A tag is what was pushed, and never an alias: latest beside another tag is a tag, and is
// gone once it is deleted.
func TestLatestIsATagLikeAnyOther(t *testing.T) {
	s := newPush(t)
	manifest := s.pushImage(t, "app", "v1", []byte("a layer"))
	s.get(t, 404, "/v2/app/manifests/latest")
	s.put(t, "app", "latest", manifest)
	s.get(t, 200, "/v2/app/manifests/latest")
	if _, body := s.get(t, 200, "/v2/app/tags/list"); strings.TrimSpace(string(body)) != `{"name":"app","tags":["latest","v1"]}` {
		t.Errorf("%s", body)
	}
	s.change(t, 202, http.MethodDelete, "/v2/app/manifests/latest", nil)
	s.get(t, 404, "/v2/app/manifests/latest")
	s.get(t, 200, "/v2/app/manifests/v1")
}

// A manifest that is deleted is gone with its tags, and can be pushed again. Its address
// stays, and the answer says so.
func TestDelete(t *testing.T) {
	s := newPush(t)
	manifest := s.pushImage(t, "app", "v1", []byte("a layer"))
	resp := s.put(t, "app", "v2", manifest)
	address := "/v2/" + strings.TrimPrefix(resp.Header.Get("X-Ipfs-Path"), "/ipfs/") + "/app/manifests/v2"
	d := digest.FromBytes(manifest).String()

	resp = s.change(t, 202, http.MethodDelete, "/v2/app/manifests/"+d, nil)
	if warning := resp.Header.Get("Warning"); warning != `299 - "this can be pulled by its address for 30 days more, and for ever where it was published"` {
		t.Errorf("Warning: %s", warning)
	}
	for _, reference := range []string{"v1", "v2", d} {
		s.get(t, 404, "/v2/app/manifests/"+reference)
		s.change(t, 404, http.MethodDelete, "/v2/app/manifests/"+reference, nil)
	}
	s.get(t, 200, address)
	s.pushImage(t, "app", "v1", []byte("a layer"))
	s.get(t, 200, "/v2/app/manifests/v1")

	layer := "/v2/app/blobs/" + digest.FromString("a layer").String()
	s.change(t, 202, http.MethodDelete, layer, nil)
	s.get(t, 404, layer)
	checkError(t, s, http.MethodDelete, layer, "BLOB_UNKNOWN", 404)
}

// Signatures are found at once, by the API and, if a client pushes one, by the tag of
// clients that do not know the API.
func TestReferrersOfWhatWasPushed(t *testing.T) {
	s := newPush(t)
	subject := digest.FromBytes(s.pushImage(t, "app", "v1", []byte("a layer")))
	empty := s.upload(t, "app", []byte("{}"))
	signature := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x-signature","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":3},"annotations":{"by":"me"}}`,
		v1.MediaTypeImageManifest, empty, v1.MediaTypeImageManifest, subject)
	resp := s.put(t, "app", digest.FromBytes(signature).String(), signature)
	if got := resp.Header.Get("OCI-Subject"); got != subject.String() {
		t.Errorf("OCI-Subject: %q", got)
	}
	referrers := func() (index v1.Index) {
		resp, body := s.get(t, 200, "/v2/app/referrers/"+subject.String())
		if err := json.Unmarshal(body, &index); err != nil || resp.Header.Get("Content-Type") != v1.MediaTypeImageIndex {
			t.Fatalf("%v, %s", err, body)
		}
		return index
	}
	all := referrers().Manifests
	if len(all) != 1 || all[0].Digest != digest.FromBytes(signature) || all[0].Size != int64(len(signature)) ||
		all[0].ArtifactType != "application/x-signature" || all[0].Annotations["by"] != "me" {
		t.Errorf("%+v", all)
	}
	s.change(t, 202, http.MethodDelete, "/v2/app/manifests/"+digest.FromBytes(signature).String(), nil)
	if all := referrers().Manifests; len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// A manifest and a blob can be known by their sha512 alone, and a tag leads to the digest
// that its manifest was pushed by.
func TestSha512(t *testing.T) {
	s := newPush(t)
	content := []byte("a layer")
	d := digest.SHA512.FromBytes(content)
	s.change(t, 201, http.MethodPost, "/v2/app/blobs/uploads/?digest="+d.String(), content)
	if resp, body := s.get(t, 200, "/v2/app/blobs/"+d.String()); string(body) != "a layer" || resp.Header.Get("Docker-Content-Digest") != d.String() {
		t.Errorf("%s, %v", body, resp.Header)
	}
	config := digest.SHA512.FromString("{}")
	s.change(t, 201, http.MethodPost, "/v2/app/blobs/uploads/?digest="+config.String(), []byte("{}"))
	manifest := imageOf(config, d)
	named := digest.SHA512.FromBytes(manifest).String()
	resp := s.change(t, 201, http.MethodPut, "/v2/app/manifests/"+named+"?tag=v1&tag=v2&tag=v1", manifest, "Content-Type", v1.MediaTypeImageManifest)
	if tags := resp.Header.Values("OCI-Tag"); !slices.Equal(tags, []string{"v1", "v2"}) {
		t.Errorf("OCI-Tag: %q", tags)
	}
	for _, reference := range []string{"v1", "v2", named} {
		resp, body := s.get(t, 200, "/v2/app/manifests/"+reference)
		if got := resp.Header.Get("Docker-Content-Digest"); got != named || !bytes.Equal(body, manifest) {
			t.Errorf("%s: %s", reference, got)
		}
	}
	s.get(t, 200, "/v2/app/blobs/"+d.String())
	s.change(t, 202, http.MethodDelete, "/v2/app/manifests/"+named, nil)
	s.get(t, 404, "/v2/app/manifests/v1")
	s.get(t, 404, "/v2/app/manifests/"+named)
}

// Caches must not keep what a client can delete.
func TestCachesAskAgainForWhatWasPushed(t *testing.T) {
	s := newPush(t)
	manifest := s.pushImage(t, "app", "v1", []byte("a layer"))
	for _, path := range []string{
		"manifests/v1", "manifests/" + digest.FromBytes(manifest).String(), "blobs/" + digest.FromString("a layer").String(),
		"tags/list", "referrers/" + aDigest,
	} {
		resp, _ := s.get(t, 200, "/v2/app/"+path)
		if got := resp.Header.Get("Cache-Control"); got != again {
			t.Errorf("%s: Cache-Control: %s", path, got)
		}
	}
}

// Before anything was pushed, nothing is there, and nothing fails.
func TestEmptyRoot(t *testing.T) {
	s := newPush(t)
	checkError(t, s, http.MethodGet, "/v2/app/manifests/v1", "MANIFEST_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, "/v2/app/blobs/"+aDigest, "BLOB_UNKNOWN", 404)
	checkError(t, s, http.MethodGet, "/v2/app/tags/list", "NAME_UNKNOWN", 404)
	checkError(t, s, http.MethodDelete, "/v2/app/manifests/v1", "NAME_UNKNOWN", 404)
	if _, body := s.get(t, 200, "/v2/app/referrers/"+aDigest); !strings.Contains(string(body), `"manifests":[]`) {
		t.Errorf("%s", body)
	}
	s.get(t, 200, "/v2/")
}
