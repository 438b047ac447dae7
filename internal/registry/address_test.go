package registry

import (
	"net/url"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// An address contains all requests for its images, in every spelling that is served.
func TestAddressContainsEverySpelling(t *testing.T) {
	root, err := cidname.Parse(aCID)
	if err != nil {
		t.Fatal(err)
	}
	spellings, err := cidname.Spellings(root)
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for _, configured := range append(spellings, cidname.Spelling{Text: cid.NewCidV0(root.Hash()).String()}, cidname.Spelling{Text: strings.ToUpper(aBafy)}) {
		for _, before := range []string{"", "/ipfs/"} {
			a, err := ParseAddress(before + configured.Text)
			if err != nil {
				t.Errorf("%s: %v", configured.Text, err)
				continue
			}
			for _, asked := range spellings {
				for _, prefix := range []string{"", "ipfs/"} {
					for _, rest := range []string{"/manifests/latest", "/a/b/manifests/" + aDigest, "/a/blobs/" + aDigest, "/tags/list", "/a/referrers/" + aDigest} {
						u := &url.URL{Path: "/v2/" + prefix + asked.Text + rest}
						_, failed := parseRequest(u, namespace{})
						if got := a.Contains(u); got != (failed == nil) {
							t.Errorf("%s contains %s: %v; parsing it gives %v", configured.Text, u.Path, got, failed)
						}
						if failed == nil {
							served++
						}
					}
				}
			}
		}
	}
	if served == 0 {
		t.Error("no spelling is served")
	}
}

func TestAddressContains(t *testing.T) {
	for _, test := range []struct {
		address, path string
		want          bool
	}{
		{aCID, "/v2/", false},
		{aCID, "/v2/_catalog", false},
		{aCID, "/elsewhere/" + aCID + "/manifests/latest", false},
		{aCID, "/v2/ipns/" + aKey + "/manifests/latest", false},
		{aCID + "/team", "/v2/" + aBafy + "/team/manifests/latest", true},
		{aCID + "/team", "/v2/" + aBafy + "/team/app/tags/list", true},
		{aCID + "/team", "/v2/" + aBafy + "/teams/manifests/latest", false},
		{aCID + "/team", "/v2/" + aBafy + "/manifests/latest", false},
		{aKey, "/v2/ipns/" + aKey + "/app/manifests/latest", true},
		{"/ipns/" + aKey + "/app", "/v2/ipns/" + aKey + "/app/manifests/latest", true},
		{"/ipns/" + aKey + "/app", "/v2/ipns/" + aKey + "/other/manifests/latest", false},
		{"example.com", "/v2/ipns/example.com/app/blobs/" + aDigest, true},
		{"example.com", "/v2/ipns/example.org/app/blobs/" + aDigest, false},
		{"example.com", "/v2/" + aCID + "/manifests/latest", false},
	} {
		a, err := ParseAddress(test.address)
		if err != nil {
			t.Errorf("%s: %v", test.address, err)
			continue
		}
		if got := a.Contains(&url.URL{Path: test.path}); got != test.want {
			t.Errorf("%s contains %s: %v", test.address, test.path, got)
		}
	}
	for _, wrong := range []string{"", "nginx", "/ipfs/", "team/app", aCID + "/Team", aCID + "//a", "ciq"} {
		if a, err := ParseAddress(wrong); err == nil {
			t.Errorf("%q is read as %v", wrong, a)
		}
	}
}
