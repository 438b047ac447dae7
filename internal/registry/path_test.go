package registry

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

const (
	aCID    = "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"
	aBafy   = "bafybeiemubpxrd4g74pzywujnoix6mouqf6culv4jsbaah5foeqlirx7de"
	aDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func TestParseRequest(t *testing.T) {
	for _, test := range []struct {
		path      string
		kind      kind
		name      string
		reference string // or digest of a blob
	}{
		{"/v2", kindBase, "", ""},
		{"/v2/", kindBase, "", ""},
		{"/v2/" + aCID + "/manifests/latest", kindManifest, "", "latest"},
		{"/v2/" + aBafy + "/manifests/latest", kindManifest, "", "latest"},
		{"/v2/ipfs/" + aCID + "/manifests/latest", kindManifest, "", "latest"},
		{"/v2/ipfs/" + aCID + "/a/b/manifests/V1.0_-x", kindManifest, "a/b", "V1.0_-x"},
		{"/v2/" + aCID + "/foo/bar/manifests/" + aDigest, kindManifest, "foo/bar", aDigest},
		{"/v2/" + aCID + "/foo/bar/manifests/" + strings.ReplaceAll(aDigest, ":", "%3A"), kindManifest, "foo/bar", aDigest},
		{"/v2/" + aCID + "/foo/bar/blobs/" + aDigest, kindBlob, "foo/bar", aDigest},
		{"/v2/" + aCID + "/blobs/sha512:" + strings.Repeat("ab", 64), kindBlob, "", "sha512:" + strings.Repeat("ab", 64)},
		{"/v2/" + aCID + "/v2/tags/manifests/manifests", kindManifest, "v2/tags", "manifests"},
		{"/v2/" + aCID + "/foo.bar_baz__x--y/manifests/list", kindManifest, "foo.bar_baz__x--y", "list"},
		{"/v2/_catalog", kindCatalog, "", ""},
		{"/v2/" + aCID + "/tags/list", kindTags, "", ""},
		{"/v2/ipfs/" + aCID + "/tags/list/tags/list", kindTags, "tags/list", ""},
		{"/v2/" + aCID + "/foo/referrers/" + aDigest, kindReferrers, "foo", aDigest},
		{"/v2/" + aCID + "/foo/blobs/uploads", kindUploads, "foo", ""},
		{"/v2/" + aCID + "/foo/blobs/uploads/", kindUploads, "foo", ""},
		{"/v2/" + aCID + "/foo/blobs/uploads/an-id", kindUpload, "foo", ""},
		{"/v2/" + aCID + "/uploads/manifests/uploads", kindManifest, "uploads", "uploads"},
	} {
		u, err := url.Parse(test.path)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parseRequest(u, namespace{})
		if err != nil {
			t.Errorf("%s: %v", test.path, err)
			continue
		}
		reference := q.Reference
		if q.kind != kindManifest {
			reference = q.Digest.String()
		}
		if q.kind != test.kind || q.Image.Name != test.name || reference != test.reference {
			t.Errorf("%s: %+v", test.path, q)
		}
		if q.kind != kindBase && q.kind != kindCatalog && q.Image.Root.String() != aBafy {
			t.Errorf("%s: root %s", test.path, q.Image.Root)
		}
		if q.kind == kindManifest && strings.Contains(test.reference, ":") != (q.Digest != "") {
			t.Errorf("%s: digest %q", test.path, q.Digest)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	for path, want := range map[string]errorCode{
		// The name does not begin with a valid address, or is malformed.
		"/v2/nginx/manifests/latest":                                 codeNameUnknown,
		"/v2/library/nginx/manifests/latest":                         codeNameUnknown,
		"/v2/ipfs/manifests/latest":                                  codeNameUnknown,
		"/v2/nginx/blobs/" + aDigest:                                 codeNameUnknown,
		"/v2/" + aCID[:54] + "b/manifests/latest":                    codeNameUnknown, // another spelling
		"/v2/foo/" + aCID + "/manifests/latest":                      codeNameUnknown,
		"/v2/ipns/" + aCID + "/manifests/latest":                     codeNameUnknown,
		"/v2/locahost:8080/nginx/manifests/latest":                   codeNameInvalid,
		"/v2/QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a/blobs/x": codeNameInvalid,
		"/v2/" + aCID + "/Foo/manifests/latest":                      codeNameInvalid,
		"/v2/" + aCID + "/-foo/manifests/latest":                     codeNameInvalid,
		"/v2/" + aCID + "/a___b/manifests/latest":                    codeNameInvalid,
		"/v2/" + aCID + "/blobs/manifests/latest":                    codeNameInvalid,
		"/v2/" + aCID + "/a/manifests/b/manifests/latest":            codeNameInvalid,
		"/v2/" + aCID + "/" + strings.Repeat("a", 200) + "/blobs/x":  codeNameInvalid,
		// The path is malformed.
		"/v2//" + aCID + "/manifests/latest":               codeNameInvalid,
		"/v2/" + aCID + "//manifests/latest":               codeNameInvalid,
		"/v2/" + aCID + "/manifests/latest/":               codeNameInvalid,
		"/v2/" + aCID + "/x/../manifests/latest":           codeNameInvalid,
		"/v2/" + aCID + "/x/blobs/uploads//":               codeNameInvalid,
		"/v2/" + aCID + "/x/blobs/uploads/../id":           codeNameInvalid,
		"/v2/" + aCID + "/x/blobs/uploads/id/":             codeNameInvalid,
		"/v2/" + aCID + "/./manifests/latest":              codeNameInvalid,
		"/v2/../v2/" + aCID + "/manifests/latest":          codeNameInvalid,
		"/v2/" + aCID + "/x/%2e%2e/manifests/latest":       codeNameInvalid,
		"/v2/" + aCID + "%2Fx/manifests/latest":            codeNameInvalid,
		"/v2/" + aCID + "/manifests%2Flatest":              codeNameInvalid,
		"/v2/" + aCID + "/manifests/%2e%2e%2f%2e%2e%2fetc": codeNameInvalid,
		"/v2/" + aCID + "/x%00/manifests/latest":           codeNameInvalid,
		// The tag or digest is invalid.
		"/v2/" + aCID + "/manifests/.latest":                          codeManifestUnknown,
		"/v2/" + aCID + "/manifests/" + strings.Repeat("a", 129):      codeManifestUnknown,
		"/v2/" + aCID + "/manifests/sha256:1234":                      codeDigestInvalid,
		"/v2/" + aCID + "/manifests/:":                                codeDigestInvalid,
		"/v2/" + aCID + "/blobs/latest":                               codeDigestInvalid,
		"/v2/" + aCID + "/blobs/sha256:" + strings.Repeat("A", 64):    codeDigestInvalid,
		"/v2/" + aCID + "/blobs/md5:d41d8cd98f00b204e9800998ecf8427e": codeDigestInvalid,
		"/v2/" + aCID + "/referrers/latest":                           codeDigestInvalid,
		// The protocol has no such path.
		"/v2/" + aCID:                 codeNotOffered,
		"/v2/" + aCID + "/x":          codeNotOffered,
		"/v2/" + aCID + "/tags/v1":    codeNotOffered,
		"/v2/" + aCID + "/tags/list/": codeNameInvalid,
		"/v2/manifests/latest":        codeNotOffered,
		"/v2/tags/list":               codeNotOffered,
		"/v2/_catalog/x":              codeNotOffered,
	} {
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parseRequest(u, namespace{})
		answer, ok := errors.AsType[*protocolError](err)
		if !ok {
			t.Errorf("%s: %+v, %v; want %s", path, q, err, want.name)
		} else if answer.code != want {
			t.Errorf("%s: %v; want %s", path, err, want.name)
		}
	}
}

// A client that pulls by a plain name, by a CID that no name can hold, or by an IPNS key
// without ipns/ is told what to do.
func TestNamesAreExplained(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/nginx/manifests/latest":                                          "<cid>[/<name>]",
		"/v2/Foo/manifests/latest":                                            `"Foo" is not an address`,
		"/v2/team/app/manifests/latest":                                       `"team" is not an address`,
		"/v2/QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a/manifests/latest": aCID,
		"/v2/" + aKey + "/app/manifests/latest":                               "put ipns/ before it",
		"/v2/ipns/" + aCID + "/manifests/latest":                              "leave out ipns/",
	} {
		_, err := parseRequest(&url.URL{Path: path}, namespace{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", path, err, want)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("/v2/" + aCID + "/a/manifests/latest")
	f.Add("/v2/" + aCID + "/blobs/" + aDigest)
	f.Fuzz(func(t *testing.T, path string) {
		if !Serves(path) {
			return
		}
		q, err := parseRequest(&url.URL{Path: path}, namespace{})
		if err != nil || q.kind == kindBase || q.kind == kindCatalog || q.isNamed() {
			return
		}
		// Every accepted path has one spelling only.
		resource := map[kind]string{
			kindManifest:  "manifests/" + q.Reference,
			kindBlob:      "blobs/" + q.Digest.String(),
			kindTags:      "tags/list",
			kindReferrers: "referrers/" + q.Digest.String(),
		}[q.kind]
		suffix := strings.TrimSuffix("/"+q.Image.Name, "/") + "/" + resource
		first, ok := strings.CutSuffix(strings.TrimPrefix(strings.TrimPrefix(path, "/v2/"), "ipfs/"), suffix)
		if root, err := cidname.Parse(first); !ok || err != nil || root != q.Image.Root {
			t.Errorf("%q is taken for %+v", path, q)
		}
	})
}
