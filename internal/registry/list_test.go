package registry

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

func TestTags(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, stored(t, im))
	path := "/v2/" + im.Repository(t, ours) + "/tags/list"
	for query, want := range map[string]struct{ tags, next string }{
		"":                     {"index latest page v1", ""},
		"?n=100":               {"index latest page v1", ""},
		"?n=9999999999":        {"index latest page v1", ""},
		"?n=4":                 {"index latest page v1", ""},
		"?n=3":                 {"index latest page", "?last=page&n=3"},
		"?n=1":                 {"index", "?last=index&n=1"},
		"?n=0":                 {"", ""},
		"?n=0&last=index":      {"", ""},
		"?last=latest":         {"page v1", ""},
		"?last=m":              {"page v1", ""}, // not a tag of the image
		"?last=v1":             {"", ""},
		"?last=z&n=1":          {"", ""},
		"?n=2&last=index":      {"latest page", "?last=page&n=2"},
		"?n=2&last=latest":     {"page v1", ""},
		"?n=1&ns=x.test&last=": {"index", "?last=index&n=1&ns=x.test"},
	} {
		resp, body := s.get(t, 200, path+query)
		var got struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(body, &got); err != nil || got.Tags == nil {
			t.Errorf("%s: %v\n%s", query, err, body)
		}
		if tags := strings.Join(got.Tags, " "); tags != want.tags || got.Name != im.Repository(t, ours) {
			t.Errorf("%s: tags %q of %s, want %q", query, tags, got.Name, want.tags)
		}
		link := ""
		if want.next != "" {
			link = "<" + path + want.next + `>; rel="next"`
		}
		if got := resp.Header.Get("Link"); got != link {
			t.Errorf("%s: Link: %s, want %s", query, got, link)
		}
		if resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", query, resp.Header)
		}
	}
	resp, body, err := s.do(t, http.MethodHead, path)
	if err != nil || resp.StatusCode != 200 || resp.ContentLength <= 0 || len(body) > 0 {
		t.Errorf("HEAD: %s, %d bytes of %d, %v", resp.Status, len(body), resp.ContentLength, err)
	}
	if resp, _, _ := s.do(t, http.MethodGet, path, "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("a list that the client has already is answered with %s", resp.Status)
	}
}

// The link to the next page has the path that the client requested, and not the
// rewritten one.
func TestLinkHasTheClientsPath(t *testing.T) {
	im := imagestest.New(t)
	s := newSite(t, stored(t, im))
	s.rewrite = func(r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "/mine/", "/"+im.Repository(t, ours)+"/", 1)
	}
	resp, _ := s.get(t, 200, "/v2/mine/tags/list?n=1")
	if link := resp.Header.Get("Link"); link != `</v2/mine/tags/list?last=index&n=1>; rel="next"` {
		t.Error(link)
	}
}

func TestReferrers(t *testing.T) {
	subject := digest.FromString("subject")
	wide := digest.SHA512.FromString("subject")
	about := func(kind string) v1.Descriptor {
		return v1.Descriptor{
			MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(kind), Size: 3, ArtifactType: kind,
			Annotations: map[string]string{"kind": "<" + kind + ">"},
		}
	}
	index := func(of ...v1.Descriptor) []byte {
		i := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: of}
		i.SchemaVersion = 2
		data, _ := json.Marshal(i)
		return data
	}
	tag := func(d digest.Digest) string { return strings.Replace(d.String(), ":", "-", 1) }
	im := imagestest.New(t)
	im = im.With(t, map[string][]byte{
		layout.ReferrersPath(ours, subject):            index(about("sbom"), about("sig")),
		layout.ManifestPath(ours, tag(subject)):        index(about("sig"), about("vex")),
		layout.ManifestPath(ours, tag(wide)[:7+64]):    index(about("wide")),
		layout.ManifestPath(ours, tag(subject)+".sig"): im.Manifest,
		layout.ManifestPath(older, tag(subject)):       im.Manifest, // which is no index
	})
	s := newSite(t, stored(t, im))
	for _, test := range []struct{ path, want, filtered string }{
		{im.Repository(t, ours) + "/referrers/" + subject.String(), "sbom sig vex", ""},
		{im.Repository(t, ours) + "/referrers/" + subject.String() + "?artifactType=sig", "sig", "artifactType"},
		{im.Repository(t, ours) + "/referrers/" + subject.String() + "?artifactType=none", "", "artifactType"},
		{im.Repository(t, ours) + "/referrers/" + subject.String() + "?artifactType=", "sbom sig vex", ""},
		{im.Repository(t, ours) + "/referrers/" + wide.String(), "wide", ""},
		{im.Repository(t, ours) + "/referrers/" + aDigest, "", ""},
		{im.Repository(t, older) + "/referrers/" + subject.String(), "", ""},
		{im.Repository(t, "absent") + "/referrers/" + subject.String(), "", ""},
		{aCID + "/referrers/" + subject.String(), "", ""},
	} {
		resp, body := s.get(t, 200, "/v2/"+test.path)
		var got v1.Index
		if err := json.Unmarshal(body, &got); err != nil || got.SchemaVersion != 2 || got.MediaType != v1.MediaTypeImageIndex || got.Manifests == nil {
			t.Errorf("%s: %v\n%s", test.path, err, body)
		}
		var kinds []string
		for _, d := range got.Manifests {
			kinds = append(kinds, d.ArtifactType)
			if d.Annotations["kind"] != "<"+d.ArtifactType+">" || d.Digest != digest.FromString(d.ArtifactType) {
				t.Errorf("%s: %+v", test.path, d)
			}
		}
		if got := strings.Join(kinds, " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.path, got, test.want)
		}
		if got := resp.Header.Get("OCI-Filters-Applied"); got != test.filtered {
			t.Errorf("%s: OCI-Filters-Applied: %q", test.path, got)
		}
		if got := resp.Header.Get("Content-Type"); got != v1.MediaTypeImageIndex {
			t.Errorf("%s: Content-Type: %q", test.path, got)
		}
		known := strings.Contains(test.path, ours) && !strings.Contains(test.path, aDigest)
		if cache := resp.Header.Get("Cache-Control"); strings.Contains(cache, "immutable") != known {
			t.Errorf("%s: Cache-Control: %s", test.path, cache)
		}
	}
	if _, body := s.get(t, 200, im.ManifestURL(t, ours, tag(subject)+".sig")); !slices.Equal(body, im.Manifest) {
		t.Error("the manifest under cosign's tag has changed")
	}
}

// An error about a missing tag or image lists those that exist.
func TestAbsenceIsExplained(t *testing.T) {
	im := imagestest.New(t)
	many := map[string][]byte{}
	for c := range strings.SplitSeq("abcdefghijkl", "") {
		many[layout.ManifestPath("many", c)] = append([]byte(" " + c)[:1], im.Manifest...)
	}
	large := make([]byte, layout.MaxManifest+1)
	many[layout.BlobPath(ours, digest.FromBytes(large))] = large
	im = im.With(t, many)
	s := newSite(t, stored(t, im))
	below := func(path string) string {
		trail := im.Trail(t, path)
		return trail[len(trail)-1].String()
	}
	for path, want := range map[string]string{
		im.Repository(t, ours) + "/manifests/v2":                                            "no manifest v2 at this address; its tags are index, latest, page, v1",
		im.Repository(t, "many") + "/manifests/z":                                           "its tags are a, b, c, d, e, f, g, h, i, j and 2 more",
		im.Repository(t, "team") + "/manifests/v1":                                          "team is a directory with app; name an image below it, such as team/app",
		im.Repository(t, "team") + "/tags/list":                                             "team is a directory with app",
		im.Repository(t, "x") + "/manifests/v1":                                             "the address is a directory with many, old, team",
		below("team/app/manifests") + "/manifests/v1":                                       "is a directory of blobs or manifests",
		below("team/app/blobs") + "/tags/list":                                              "is a directory of blobs or manifests",
		below("team/app/blobs/"+digest.FromBytes(im.Config).String()) + "/manifests/latest": "the address is a file",
		below("team/app/blobs/"+digest.FromBytes(large).String()) + "/manifests/latest":     "the address is a file",
		below("team/app/blobs/"+digest.FromBytes(large).String()) + "/tags/list":            "the address is a file",
		aCID + "/manifests/latest":                                                          "the store of this registry has nothing of it, and no gateway is asked",
	} {
		_, body := s.get(t, 404, "/v2/"+path)
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s does not say %q", path, body, want)
		}
	}
}

// Tags, referrers and the catalog list nothing that a deny list refuses, whichever CID or
// path the rule names.
func TestListsHideWhatIsDenied(t *testing.T) {
	im := imagestest.New(t)
	dir := im.Store(t)
	trail := im.Trail(t, ours)
	for _, rule := range []string{im.Root.String() + "/team", trail[0].String(), trail[1].String()} {
		s := newSite(t, setup{stores: []string{dir}, deny: "/ipfs/" + rule, root: im.Root.String(), catalog: true})
		for _, path := range []string{im.Repository(t, ours), ours} {
			checkError(t, s, http.MethodGet, "/v2/"+path+"/tags/list", "DENIED", 410)
			checkError(t, s, http.MethodGet, "/v2/"+path+"/referrers/"+aDigest, "DENIED", 410)
			checkError(t, s, http.MethodGet, "/v2/"+path+"/manifests/v9", "DENIED", 410)
			checkError(t, s, http.MethodGet, "/v2/"+path+"/manifests/latest", "DENIED", 410)
		}
		s.get(t, 200, "/v2/old/tags/list")
		_, body := s.get(t, 200, "/v2/_catalog")
		if strings.TrimSpace(string(body)) != `{"repositories":["old"]}` {
			t.Errorf("%s denied: %s", rule, body)
		}
	}
}

// If the store has lost a directory, a list of the remaining referrers is not immutable.
func TestReferrersOfAPart(t *testing.T) {
	subject := digest.FromString("subject")
	im := imagestest.New(t).With(t, map[string][]byte{
		layout.ReferrersPath(ours, subject):                                       []byte(`{"schemaVersion":2,"manifests":[{"digest":"` + aDigest + `"}]}`),
		layout.ManifestPath(ours, strings.Replace(subject.String(), ":", "-", 1)): []byte(`{"schemaVersion":2,"manifests":[{"digest":"` + subject.String() + `"}]}`),
	})
	dir := im.Store(t)
	path := "/v2/" + im.Repository(t, ours) + "/referrers/" + subject.String()
	for _, lost := range []string{"", layout.ReferrersDir(ours)} {
		if lost != "" {
			trail := im.Trail(t, lost)
			c := trail[len(trail)-1].String()
			if err := os.Remove(filepath.Join(dir, "nodes", c[len(c)-3:len(c)-1], c)); err != nil {
				t.Fatal(err)
			}
		}
		resp, body := newSite(t, setup{stores: []string{dir}}).get(t, 200, path)
		if forEver := strings.Contains(resp.Header.Get("Cache-Control"), "immutable"); forEver != (lost == "") {
			t.Errorf("without %q: %s: %s", lost, resp.Header.Get("Cache-Control"), body)
		}
	}
}
