package caddymodule

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func writeList(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What is denied is refused by every path that leads to it and in every
// spelling, by GET and by HEAD, from the store and from gateways, which are not
// asked.
func TestDeny(t *testing.T) {
	im := newImages(t)
	dir, gw := im.store(t), im.gateway(t)
	root := im.root.String()
	layer := digest.FromBytes(im.layer).String()
	all := []string{im.blob(t, im.layer), im.manifests(t, ours, "v1"), im.manifests(t, older, "latest"), im.manifests(t, "", "latest")}
	for _, test := range []struct {
		rule    string
		refused []string // all others are served
		status  int
	}{
		{"", nil, 0},
		{"/ipfs/" + cid.NewCidV0(im.root.Hash()).String(), all, 410},
		{"/ipfs/" + root + "/* gateway_status=451", all, 451},
		{"/ipfs/" + root + "/" + ours, all[:2], 410},
		{"/ipfs/" + root + "/team/app/blobs/sha256%3A" + layer[7:], all[:1], 410},
		{"/ipfs/" + root + "/old/manifests/latest-v2", all[2:3], 410},
		{"/ipfs/" + root + "\n!/ipfs/" + root + "/" + ours, all[2:], 410},
	} {
		deny := []string{writeList(t, test.rule)}
		fromGateway := gateways(gw)
		fromGateway.Deny = deny
		for _, h := range []Handler{{Store: &Store{Directory: dir}, Deny: deny}, fromGateway} {
			s := newSite(t, h)
			gw.asked()
			for _, path := range test.refused {
				for _, spelled := range spelledOtherwise(t, im, path) {
					checkError(t, s, http.MethodGet, spelled, "DENIED", test.status)
					checkError(t, s, http.MethodHead, spelled, "DENIED", test.status)
				}
			}
			if asked := gw.asked(); len(asked) > 0 {
				t.Errorf("%s: a gateway is asked for %s", test.rule, asked[0].URL)
			}
			if n := len(s.logged("refused")); (n == 0) != (test.refused == nil) {
				t.Errorf("%s: %d refusals logged", test.rule, n)
			}
			for _, path := range all {
				switch {
				case slices.Contains(test.refused, path):
				case h.Store != nil:
					s.get(t, 200, path)
				default: // this gateway proves nothing, so nobody knows what it would serve
					if resp, _, err := s.do(t, http.MethodGet, path); err != nil || resp.StatusCode != http.StatusBadGateway {
						t.Errorf("%s: GET %s: %s, %v", test.rule, path, resp.Status, err)
					}
				}
			}
			s.get(t, 200, "/v2/")
		}
	}
}

// spelledOtherwise is a path with the root in all spellings that requests can
// have.
func spelledOtherwise(t testing.TB, im *images, path string) (all []string) {
	t.Helper()
	spellings, err := cidname.Spellings(im.root)
	if err != nil {
		t.Fatal(err)
	}
	name := im.repository(t, "")
	for _, s := range spellings {
		if _, err := cidname.Parse(s.Text); err == nil { // which CIDv0 is not in a name
			all = append(all, strings.Replace(path, name, s.Text, 1), strings.Replace(path, name, "ipfs/"+s.Text, 1))
		}
	}
	return all
}

// What a path resolves to is denied wherever it is linked from: a blob, a
// manifest under whatever name, or a directory on the way.
func TestDenyResolved(t *testing.T) {
	im := newImages(t)
	dir := im.store(t)
	layer := digest.FromBytes(im.layer)
	trail, err := store.Open(dir).Trail(t.Context(), im.root, layout.BlobPath(ours, layer))
	if err != nil {
		t.Fatal(err)
	}
	manifest := im.built[layout.ManifestPath(ours, "v1")].CID
	for name, test := range map[string]struct {
		rule             string
		blob, byTag, raw int
	}{
		"blob":      {trail[len(trail)-1].String(), 410, 200, 200},
		"manifest":  {manifest.String(), 200, 410, 410},
		"directory": {trail[0].String(), 410, 410, 410},
		"path":      {trail[0].String() + "/app/blobs/" + layer.String(), 410, 200, 200},
	} {
		s := newSite(t, Handler{Store: &Store{Directory: dir}, Deny: []string{writeList(t, "/ipfs/"+test.rule)}})
		for path, want := range map[string]int{
			im.blob(t, im.layer):        test.blob,
			im.manifests(t, ours, "v1"): test.byTag,
			im.manifests(t, ours, digest.FromBytes(im.manifest).String()): test.raw,
		} {
			if resp, _, err := s.do(t, http.MethodGet, path); err != nil || resp.StatusCode != want {
				t.Errorf("%s denied: GET %s: %s, %v; want %d", name, path, resp.Status, err, want)
			}
		}
	}
}

// What is denied by name is not looked up.
func TestDenyName(t *testing.T) {
	h := Handler{Store: &Store{Directory: t.TempDir()}, Names: &Names{DNSLink: []string{"example.com"}}}
	h.Deny = []string{writeList(t, "/ipns/example.com")}
	s := newSite(t, h)
	checkError(t, s, http.MethodGet, "/v2/ipns/example.com/manifests/latest", "DENIED", 410)
	checkError(t, s, http.MethodHead, "/v2/ipns/example.com/app/blobs/"+aDigest, "DENIED", 410)
}

// Only what is on the allow list is served.
func TestAllow(t *testing.T) {
	im := newImages(t)
	dir := im.store(t)
	path := im.blob(t, im.layer)
	for list, status := range map[string]int{
		"# nobody\n":                          403,
		aCID + "\n":                           403,
		im.repository(t, "") + " # ours\n":    200,
		cid.NewCidV0(im.root.Hash()).String(): 200,
	} {
		s := newSite(t, Handler{Store: &Store{Directory: dir}, Allow: []string{writeList(t, list)}})
		if status == 200 {
			s.get(t, 200, path)
			continue
		}
		checkError(t, s, http.MethodGet, path, "DENIED", status)
		checkError(t, s, http.MethodHead, im.manifests(t, ours, "v1"), "DENIED", status)
		s.get(t, 200, "/v2/")
	}
	s := newSite(t, Handler{Store: &Store{Directory: dir}, Allow: []string{writeList(t, im.root.String())}, Deny: []string{writeList(t, "/ipfs/"+im.root.String())}})
	checkError(t, s, http.MethodGet, path, "DENIED", 410)
}

// A list that cannot be read stops Caddy from starting, with a line that says
// where.
func TestUnreadableList(t *testing.T) {
	t.Setenv("LISTS", filepath.Dir(writeList(t, "#\nnginx")))
	for config, want := range map[string]string{
		`{"deny":["/absent/list"]}`:           "setting up deny and allow lists: stat /absent/list: no such file",
		`{"deny":["{env.LISTS}/list"]}`:       os.Getenv("LISTS") + `/list: line 2: "nginx": not a rule`,
		`{"allow":["{env.LISTS}/list"]}`:      os.Getenv("LISTS") + `/list: line 2: "nginx": not a CID`,
		`{"deny":["{env.NOT_SET_ANYWHERE}"]}`: "invalid file '{env.NOT_SET_ANYWHERE}'",
	} {
		if _, err := provision(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

// A list that changes is in force without a reload, and one that cannot be read
// any more is in the log, once, and stays in force.
func TestListChanges(t *testing.T) {
	file := writeList(t, "")
	root, err := cidname.Parse(aCID)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		core, logs := observer.New(zap.InfoLevel)
		h := &Handler{Deny: []string{file}, logger: zap.New(core)}
		if err := h.provisionLists(caddy.Context{Context: ctx}); err != nil {
			t.Fatal(err)
		}
		replace("/ipfs/" + root.String())
		time.Sleep(2 * listsInterval)
		synctest.Wait()
		if h.lists.Check(root, "app") == nil || logs.FilterMessage("list has changed").Len() != 1 {
			t.Errorf("not denied: %v", logs.All())
		}
		replace("nginx")
		time.Sleep(10 * listsInterval)
		synctest.Wait()
		failed := logs.FilterMessage("list cannot be read, what it said before stays in force").All()
		if h.lists.Check(root, "app") == nil || len(failed) != 1 || failed[0].Level != zap.ErrorLevel {
			t.Errorf("not denied, or not logged: %v", logs.All())
		}
		cancel()
		synctest.Wait() // for the end of what looks at the list
	})
}
