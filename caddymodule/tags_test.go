package caddymodule

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

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// with adds files below the root, which is another one then.
func (im *images) with(t testing.TB, files map[string][]byte) *images {
	t.Helper()
	for path, content := range files {
		im.files[path] = content
	}
	im.build(t, func(unixfs.Block) error { return nil })
	return im
}

func TestTags(t *testing.T) {
	im := newImages(t)
	s := newSite(t, Handler{Store: &Store{Directory: im.store(t)}})
	path := "/v2/" + im.repository(t, ours) + "/tags/list"
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
		"?last=m":              {"page v1", ""}, // which is none
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
		if tags := strings.Join(got.Tags, " "); tags != want.tags || got.Name != im.repository(t, ours) {
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
		t.Errorf("what the client has is answered with %s", resp.Status)
	}
}

// A list's next part is where the client asked for this one, whatever the path was
// rewritten to.
func TestLinkIsTheClients(t *testing.T) {
	im := newImages(t)
	s := newSite(t, Handler{Store: &Store{Directory: im.store(t)}})
	s.rewrite = func(r *http.Request) {
		r.URL.Path = strings.Replace(r.URL.Path, "/mine/", "/"+im.repository(t, ours)+"/", 1)
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
	im := newImages(t)
	im = im.with(t, map[string][]byte{
		layout.ReferrersPath(ours, subject):            index(about("sbom"), about("sig")),
		layout.ManifestPath(ours, tag(subject)):        index(about("sig"), about("vex")),
		layout.ManifestPath(ours, tag(wide)[:7+64]):    index(about("wide")),
		layout.ManifestPath(ours, tag(subject)+".sig"): im.manifest,
		layout.ManifestPath(older, tag(subject)):       im.manifest, // which is no index
	})
	s := newSite(t, Handler{Store: &Store{Directory: im.store(t)}})
	for _, test := range []struct{ path, want, filtered string }{
		{im.repository(t, ours) + "/referrers/" + subject.String(), "sbom sig vex", ""},
		{im.repository(t, ours) + "/referrers/" + subject.String() + "?artifactType=sig", "sig", "artifactType"},
		{im.repository(t, ours) + "/referrers/" + subject.String() + "?artifactType=none", "", "artifactType"},
		{im.repository(t, ours) + "/referrers/" + subject.String() + "?artifactType=", "sbom sig vex", ""},
		{im.repository(t, ours) + "/referrers/" + wide.String(), "wide", ""},
		{im.repository(t, ours) + "/referrers/" + aDigest, "", ""},
		{im.repository(t, older) + "/referrers/" + subject.String(), "", ""},
		{im.repository(t, "absent") + "/referrers/" + subject.String(), "", ""},
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
	if _, body := s.get(t, 200, im.manifests(t, ours, tag(subject)+".sig")); !slices.Equal(body, im.manifest) {
		t.Error("what cosign tags is not what it was")
	}
}

// An answer about what is not there says what is.
func TestAbsenceIsExplained(t *testing.T) {
	im := newImages(t)
	many := map[string][]byte{}
	for c := range strings.SplitSeq("abcdefghijkl", "") {
		many[layout.ManifestPath("many", c)] = append([]byte(" " + c)[:1], im.manifest...)
	}
	large := make([]byte, layout.MaxManifest+1)
	many[layout.BlobPath(ours, digest.FromBytes(large))] = large
	im = im.with(t, many)
	s := newSite(t, Handler{Store: &Store{Directory: im.store(t)}})
	below := func(path string) string {
		trail, err := s.handler.stores[0].Trail(t.Context(), im.root, path)
		if err != nil {
			t.Fatal(err)
		}
		return trail[len(trail)-1].String()
	}
	for path, want := range map[string]string{
		im.repository(t, ours) + "/manifests/v2":                                            "no manifest v2 at this address, but index, latest, page, v1",
		im.repository(t, "many") + "/manifests/z":                                           "but a, b, c, d, e, f, g, h, i, j and 2 more",
		im.repository(t, "team") + "/manifests/v1":                                          "team is of a directory with app",
		im.repository(t, "team") + "/tags/list":                                             "team is of a directory with app",
		im.repository(t, "x") + "/manifests/v1":                                             "the address is of a directory with many, old, team",
		below("team/app/manifests") + "/manifests/v1":                                       "is of a directory of blobs or manifests",
		below("team/app/blobs") + "/tags/list":                                              "is of a directory of blobs or manifests",
		below("team/app/blobs/"+digest.FromBytes(im.config).String()) + "/manifests/latest": "the address is of a file",
		below("team/app/blobs/"+digest.FromBytes(large).String()) + "/manifests/latest":     "the address is of a file",
		below("team/app/blobs/"+digest.FromBytes(large).String()) + "/tags/list":            "the address is of a file",
		aCID + "/manifests/latest":                                                          "the store of this registry has nothing of it, and no gateway is asked",
	} {
		_, body := s.get(t, 404, "/v2/"+path)
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s does not say %q", path, body, want)
		}
	}
}

// What lists refuse is not listed, by whatever it is refused.
func TestRefusedIsNotListed(t *testing.T) {
	im := newImages(t)
	dir := im.store(t)
	trail, err := store.Open(dir).Trail(t.Context(), im.root, ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{im.root.String() + "/team", trail[0].String(), trail[1].String()} {
		s := newSite(t, Handler{
			Store: &Store{Directory: dir}, Deny: []string{writeList(t, "/ipfs/"+rule)},
			Root: &Root{Address: im.root.String()}, Catalog: true,
		})
		for _, path := range []string{im.repository(t, ours), ours} {
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

// A store that has lost a directory does not tell the rest for the whole.
func TestReferrersOfAPart(t *testing.T) {
	subject := digest.FromString("subject")
	im := newImages(t).with(t, map[string][]byte{
		layout.ReferrersPath(ours, subject):                                       []byte(`{"schemaVersion":2,"manifests":[{"digest":"` + aDigest + `"}]}`),
		layout.ManifestPath(ours, strings.Replace(subject.String(), ":", "-", 1)): []byte(`{"schemaVersion":2,"manifests":[{"digest":"` + subject.String() + `"}]}`),
	})
	dir := im.store(t)
	path := "/v2/" + im.repository(t, ours) + "/referrers/" + subject.String()
	for _, lost := range []string{"", layout.ReferrersDir(ours)} {
		if lost != "" {
			trail, err := store.Open(dir).Trail(t.Context(), im.root, lost)
			if err != nil {
				t.Fatal(err)
			}
			c := trail[len(trail)-1].String()
			if err := os.Remove(filepath.Join(dir, "nodes", c[len(c)-3:len(c)-1], c)); err != nil {
				t.Fatal(err)
			}
		}
		resp, body := newSite(t, Handler{Store: &Store{Directory: dir}}).get(t, 200, path)
		if forEver := strings.Contains(resp.Header.Get("Cache-Control"), "immutable"); forEver != (lost == "") {
			t.Errorf("without %q: %s: %s", lost, resp.Header.Get("Cache-Control"), body)
		}
	}
}
