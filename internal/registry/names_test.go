package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
)

const aKey = "k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r"

// A nameServer answers every domain with the same DNSLink, unless setOwn gave the domain
// one of its own. Without a DNSLink, it answers that it failed.
type nameServer struct {
	address string

	mu   sync.Mutex
	link string
	own  map[string]string
}

func newNameServer(t testing.TB) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{address: conn.LocalAddr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&dns.Server{PacketConn: conn, Handler: s}).ActivateAndServe()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := new(dns.Msg).SetReply(q)
	link, ok := s.own[strings.Trim(strings.TrimPrefix(q.Question[0].Name, "_dnslink"), ".")]
	if !ok {
		link = s.link
	}
	switch link {
	case "":
		answer.Rcode = dns.RcodeServerFailure
	case "none":
		answer.Rcode = dns.RcodeNameError
	default:
		header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}
		answer.Answer = []dns.RR{&dns.TXT{Hdr: header, Txt: []string{"dnslink=" + link}}}
	}
	w.WriteMsg(answer)
}

// setOwn gives domains DNSLinks of their own.
func (s *nameServer) setOwn(links map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = links
}

func (s *nameServer) set(link string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link = link
}

// named returns the setup of a registry with this store, which resolves the domains at s.
func (s *nameServer) named(store string, domains ...string) setup {
	server, err := names.ParseServer(s.address)
	if err != nil {
		panic(err)
	}
	return setup{stores: []string{store}, names: &names.Config{Domains: domains, Server: server}}
}

// A name serves the images below the CID that it resolves to. Its tags may be cached for
// as long as the DNS answer.
func TestDNSLink(t *testing.T) {
	im, server := imagestest.New(t), newNameServer(t)
	server.set("/ipfs/" + im.Root.String())
	h := server.named(im.Store(t), "images.example.com", "team.example.com")
	s := newSite(t, h)
	name := "/v2/ipns/images.example.com/" + ours
	for _, test := range []struct {
		path    string
		content []byte
		cache   string
	}{
		{name + "/manifests/v1", im.Manifest, "max-age="},
		{name + "/manifests/" + digest.FromBytes(im.Manifest).String(), im.Manifest, "immutable"},
		{name + "/blobs/" + digest.FromBytes(im.Layer).String(), im.Layer, "immutable"},
		{"/v2/ipns/images.example.com/manifests/latest", im.Manifest, "max-age="},
	} {
		resp, body := s.get(t, 200, test.path)
		cache := resp.Header.Get("Cache-Control")
		if string(body) != string(test.content) || !strings.HasPrefix(cache, "public, ") || !strings.Contains(cache, test.cache) {
			t.Errorf("%s: %d bytes, %s", test.path, len(body), cache)
		}
		var age int
		if _, err := fmt.Sscanf(cache, "public, max-age=%d, no-transform", &age); test.cache == "max-age=" && (err != nil || age > 60) {
			t.Errorf("%s: %s", test.path, cache)
		}
	}
	resp, _ := s.get(t, 200, name+"/manifests/v1", "Authorization", "Basic eDp5")
	if cache := resp.Header.Get("Cache-Control"); !strings.HasPrefix(cache, "private, max-age=") || strings.Contains(cache, "immutable") {
		t.Errorf("authorised: %s", cache)
	}
	checkError(t, s, http.MethodGet, name+"/manifests/v9", "MANIFEST_UNKNOWN", 404)

	// The path in the DNSLink comes before the image's name.
	server.set("/ipfs/" + im.Root.String() + "/" + strings.SplitN(ours, "/", 2)[0])
	s.get(t, 200, "/v2/ipns/team.example.com/"+strings.SplitN(ours, "/", 2)[1]+"/manifests/v1")
}

// A denied name is also denied through every name that leads to it.
func TestDenyNameOnTheWay(t *testing.T) {
	im, server := imagestest.New(t), newNameServer(t)
	server.set("/ipfs/" + im.Root.String())
	server.setOwn(map[string]string{
		"a.example": "/ipns/b.example",
		"b.example": "/ipns/denied.example",
		"c.example": "/ipns/denied.example/team",
	})
	h := server.named(im.Store(t), "a.example", "b.example", "c.example", "denied.example", "other.example")
	blob := "/blobs/" + digest.FromBytes(im.Layer).String()
	for rule, refused := range map[string][]string{
		"/ipns/denied.example":                       {"a.example/" + ours, "b.example/" + ours, "c.example/app", "denied.example/" + ours},
		"/ipns/b.example":                            {"a.example/" + ours, "b.example/" + ours},
		"/ipns/denied.example/" + ours + "/*":        {"a.example/" + ours, "b.example/" + ours, "c.example/app", "denied.example/" + ours},
		"/ipns/denied.example/somebody/else's/image": nil,
	} {
		h.deny = rule
		s := newSite(t, h)
		for _, name := range []string{"a.example/" + ours, "b.example/" + ours, "c.example/app", "denied.example/" + ours, "other.example/" + ours} {
			for _, path := range []string{"/v2/ipns/" + name + "/manifests/v1", "/v2/ipns/" + name + blob} {
				if !slices.Contains(refused, name) {
					s.get(t, 200, path)
					continue
				}
				checkError(t, s, http.MethodGet, path, "DENIED", http.StatusGone)
				checkError(t, s, http.MethodHead, path, "DENIED", http.StatusGone)
			}
		}
	}
}

// The catalog lists no image that a deny list refuses by the root's name, or by a name
// through which the root resolves.
func TestCatalogNamesNoImageBelowADeniedRootName(t *testing.T) {
	im, server := imagestest.New(t), newNameServer(t)
	server.set("/ipfs/" + im.Root.String())
	server.setOwn(map[string]string{"root.example": "/ipns/way.example/team", "way.example": "/ipfs/" + im.Root.String()})
	h := server.named(im.Store(t), "root.example", "way.example", "other.example")
	h.catalog = true
	for _, test := range []struct{ root, deny, want string }{
		{"root.example", "#", "app"},
		{"root.example", "/ipns/root.example", ""},
		{"root.example", "/ipns/way.example", ""},
		{"root.example", "/ipns/root.example/app", ""},
		{"root.example", "/ipns/way.example/" + ours, ""},
		{"root.example", "/ipns/way.example/" + older, "app"},
		{"other.example", "#", older + " " + ours},
		{"other.example", "/ipns/other.example/" + older, ours},
	} {
		h.root, h.deny = test.root, test.deny
		_, body := newSite(t, h).get(t, 200, "/v2/_catalog")
		var got struct{ Repositories []string }
		if err := json.Unmarshal(body, &got); err != nil || strings.Join(got.Repositories, " ") != test.want {
			t.Errorf("%s denied: %s, %v; want %q", test.deny, body, err, test.want)
		}
	}
}

// No list of tags and no error names content that a deny list refuses by a name.
func TestDeniedNamesAreNotNamed(t *testing.T) {
	im, server := imagestest.New(t), newNameServer(t)
	server.set("/ipfs/" + im.Root.String())
	server.setOwn(map[string]string{"a.example": "/ipns/b.example", "b.example": "/ipfs/" + im.Root.String()})
	h := server.named(im.Store(t), "a.example", "b.example")
	for _, denied := range []string{"a.example", "b.example"} {
		h.deny = "/ipns/" + denied + "/" + ours + "/manifests/index\n/ipns/" + denied + "/" + older
		s := newSite(t, h)
		for path, kept := range map[string]string{
			"/" + ours + "/tags/list":    "page",
			"/" + ours + "/manifests/v9": "page",
			"/none/manifests/v1":         "MANIFEST_UNKNOWN",
			"/none/tags/list":            "NAME_UNKNOWN",
			"/team/manifests/v1":         "MANIFEST_UNKNOWN",
		} {
			_, body, err := s.do(t, http.MethodGet, "/v2/ipns/a.example"+path)
			if err != nil || strings.Contains(string(body), "index") || strings.Contains(string(body), older) || !strings.Contains(string(body), kept) {
				t.Errorf("%s denied: %s: %s, %v", denied, path, body, err)
			}
		}
	}
}

// While the gateways fail, a digest counts as absent only if it cannot be in a directory
// that the name resolved to before.
func TestFailureForAnEarlierDirectoryIsNoAbsence(t *testing.T) {
	earlier := imagestest.New(t)
	now := imagestest.New(t).With(t, map[string][]byte{"another": []byte("file")})
	layer := digest.FromBytes(earlier.Layer)
	delete(now.Files, layout.BlobPath(ours, layer))
	now = now.With(t, nil)
	broken := earlier.Gateway(t).Breaks(faults["fails"])
	s := newSite(t, setup{stores: []string{now.Store(t)}, gateways: []*imagestest.Gateway{broken}})

	found := names.Resolved{End: names.End{Place: names.Place{Root: now.Root}}, Before: []names.End{{Place: names.Place{Root: earlier.Root}}}}
	q := request{kind: kindBlob, Query: images.Query{Image: layout.Image{Name: ours}, Digest: layer}}
	ask := func() (*httptest.ResponseRecorder, error) {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		return w, s.registry.serveResolved(w, Request{Request: r}, q, found)
	}
	_, err := ask()
	if failure, ok := errors.AsType[*Failure](err); !ok || failure.Status != http.StatusBadGateway {
		t.Errorf("a broken gateway gives %v", err)
	}
	broken.Breaks(nil)
	if w, err := ask(); err != nil || !bytes.Equal(w.Body.Bytes(), earlier.Layer) {
		t.Errorf("a good gateway gives %d bytes, %v", w.Body.Len(), err)
	}
	found.Before = nil
	if _, err := ask(); !isNotFound(err) {
		t.Errorf("without an earlier directory: %v", err)
	}
}

// If a name resolves to no image, the error says why, and which option would allow it.
func TestNamesThatStandForNothing(t *testing.T) {
	im, server := imagestest.New(t), newNameServer(t)
	gateway := im.Gateway(t) // which has no records
	h := server.named(im.Store(t), "example.com", "example.org")
	without := newSite(t, setup{stores: h.stores})
	domains := newSite(t, h)
	h.names = &names.Config{Keys: true}
	h.gateways = []*imagestest.Gateway{gateway}
	keys := newSite(t, h)

	server.set("none")
	for _, test := range []struct {
		site          *site
		name          string
		code, message string
	}{
		{without, aKey, "NAME_UNKNOWN", "`names { ipns }`"},
		{domains, aKey + "/x", "NAME_UNKNOWN", "`names { ipns }`"},
		{without, "example.com", "NAME_UNKNOWN", "`names { dnslink example.com }`"},
		{domains, "sub.example.com", "NAME_UNKNOWN", "`names { dnslink sub.example.com }`"},
		{keys, "example.com", "NAME_UNKNOWN", "`names { dnslink example.com }`"},
		{domains, "example.com", "NAME_UNKNOWN", "TXT record of _dnslink.example.com"},
	} {
		for _, resource := range []string{"/manifests/v1", "/manifests/" + aDigest, "/blobs/" + aDigest} {
			path := "/v2/ipns/" + test.name + resource
			checkError(t, test.site, http.MethodGet, path, test.code, 404)
			checkError(t, test.site, http.MethodHead, path, test.code, 404)
			if _, body := test.site.get(t, 404, path); !strings.Contains(string(body), test.message) {
				t.Errorf("%s: %s does not tell %q", path, body, test.message)
			}
		}
	}

	// A failure that may pass is Caddy's error, and not a 404. A gateway that has no
	// record of a key does not prove that there is none.
	keys.get(t, http.StatusBadGateway, "/v2/ipns/"+aKey+"/manifests/v1")
	server.set("")
	domains.get(t, http.StatusBadGateway, "/v2/ipns/example.org/manifests/v1")
	if err := <-domains.errs; !strings.Contains(err.Error(), "for the DNSLink of example.org") {
		t.Error(err)
	}
	gateway.Close()
	keys.get(t, http.StatusBadGateway, "/v2/ipns/"+aKey+"/manifests/v1")
}

func TestParseNamedRequest(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/ipns/" + aKey + "/manifests/latest":          aKey + " ",
		"/v2/ipns/" + aKey + "/a/b/blobs/" + aDigest:      aKey + " a/b",
		"/v2/ipns/img.example.com/a/manifests/" + aDigest: "img.example.com a",
	} {
		q, err := parseRequest(&url.URL{Path: path}, namespace{})
		if got := q.name.String() + " " + q.Image.Name; err != nil || !q.isNamed() || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]errorCode{
		"/v2/ipns/nginx/manifests/latest":                                codeNameUnknown,
		"/v2/ipns/" + aBafy + "/manifests/latest":                        codeNameUnknown,
		"/v2/ipns/" + strings.ToUpper(aKey) + "/manifests/latest":        codeNameInvalid,
		"/v2/ipns/" + aKey + "/A/manifests/latest":                       codeNameInvalid,
		"/v2/ipns/" + aKey + "/blobs/manifests/latest":                   codeNameInvalid,
		"/v2/ipns/" + aKey + "/" + strings.Repeat("a", 200) + "/blobs/x": codeNameInvalid,
		"/v2/ipns/" + aKey + "/blobs/x":                                  codeDigestInvalid,
		"/v2/ipns/" + aKey + "/tags/latest":                              codeNotOffered,
		"/v2/ipfs/ipns/" + aKey + "/manifests/latest":                    codeNameUnknown,
		"/v2/ipns/ipns/" + aKey + "/manifests/latest":                    codeNameUnknown,
		"/v2/" + aKey + "/manifests/latest":                              codeNameUnknown,
	} {
		q, err := parseRequest(&url.URL{Path: path}, namespace{})
		if answer, ok := errors.AsType[*protocolError](err); !ok || answer.code != want {
			t.Errorf("%s: %+v, %v; want %s", path, q, err, want.name)
		}
	}
}
