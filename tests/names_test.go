package tests

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// keyed is what a registry's references by a key of a Kubo node begin with.
func (c *caddy) keyed(key string) string { return c.host() + "/ipns/" + key }

// newKey makes an IPNS key on the node, and spells it for an image name.
func (k *kubo) newKey(t *testing.T, name, kind string) (key string) {
	t.Helper()
	return ipfs(t, k.repo, "key", "gen", "--type="+kind, "--ipns-base=base36", name)
}

// publish signs what a key stands for.
func (k *kubo) publish(t *testing.T, name, path string, options ...string) {
	t.Helper()
	args := append([]string{"name", "publish", "--allow-offline", "--key=" + name, "--ttl=1s"}, options...)
	ipfs(t, k.repo, append(args, path)...)
}

// Every client pulls by an IPNS key that a real node published, and by a domain
// that leads to it, from gateways of which one lies about records.
func TestPullByName(t *testing.T) {
	t.Parallel()
	img := testImage(t)
	kubo := newKubo(t)
	liar := newRecordKeeper(t, kubo.gateway)
	liar.change(func(record []byte) []byte {
		record[len(record)/2] ^= 1
		return record
	})
	key := kubo.newKey(t, "images", "ed25519")
	subdomains := strings.Replace(kubo.gateway, "127.0.0.1", "localhost", 1) // to which it redirects there
	server := newDNSServer(t, "images.example.com", "/ipns/"+key+"/team")
	caddy := newCaddy(t, fmt.Sprintf(`ipfs_registry %s %s {
		names {
			ipns
			dnslink images.example.com
			resolver %s
		}
	}`, liar.URL, subdomains, server))
	ref := convert(t, img.archive, "--ipfs-api="+kubo.api, "--registry="+caddy.registry)
	kubo.publish(t, "images", "/ipfs/"+cidV1(t, root(t, ref)))
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			img.mustBe(t, client.pull(t, caddy.keyed(key)+"/"+imageName))
			img.mustBe(t, client.pull(t, caddy.keyed("images.example.com")+"/app"))
		})
	}
}

// A tag moves when its name is published again, whatever one of two gateways
// keeps saying; who began to pull before gets the rest of the same image; and
// what was seen is not unseen by a restart.
func TestNameMoves(t *testing.T) {
	t.Parallel()
	needs(t, "skopeo")
	img := testImage(t)
	kubo := newKubo(t)
	replayer := newRecordKeeper(t, kubo.gateway)
	var once sync.Once
	var first []byte
	replayer.change(func(record []byte) []byte {
		once.Do(func() { first = record })
		return first
	})
	key := kubo.newKey(t, "moving", "rsa")
	store := t.TempDir()
	directive := "ipfs_registry %s {\nstore " + store + "\nnames {\nipns\n}\n}"
	caddy := newCaddy(t, fmt.Sprintf(directive, replayer.URL+" "+kubo.gateway))
	ref := convert(t, img.archive, "--ipfs-api="+kubo.api, "--registry="+caddy.registry)
	kubo.publish(t, "moving", "/ipfs/"+cidV1(t, root(t, ref)))
	named := caddy.keyed(key) + "/" + imageName
	img.mustBe(t, pullBySkopeo(t, named))
	old, digest := fetchManifest(t, named)

	const moved = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, imageName, "manifests/latest"), moved)
	kubo.publish(t, "moving", "/ipfs/"+ipfs(t, kubo.repo, "add", "--recursive", "--quieter", "--cid-version=1", dir))
	caddy.await(t, "the image that the name stands for now", func() bool {
		return get(t, repository(named)+"/manifests/latest").body == moved
	})
	for _, path := range []string{"/blobs/" + old.Layers[0].Digest, "/manifests/" + digest} {
		if resp := get(t, repository(named)+path); digestOf([]byte(resp.body)) != filepath.Base(path) {
			t.Errorf("%s of before is answered with %d", path, resp.StatusCode)
		}
	}

	restarted := newCaddy(t, fmt.Sprintf(directive, replayer.URL))
	resp := get(t, repository(restarted.keyed(key)+"/"+imageName)+"/manifests/latest")
	if resp.body != moved {
		t.Errorf("with a gateway that has an old record, a restarted Caddy answers %d: %.100q", resp.StatusCode, resp.body)
	}
	if cache := resp.Header.Get("Cache-Control"); !strings.HasPrefix(cache, "public, max-age=") || strings.Contains(cache, "immutable") {
		t.Errorf("Cache-Control: %s", cache)
	}
}

// What a name does not stand for is an error that says so, and no other image.
func TestNameStandsForNothing(t *testing.T) {
	t.Parallel()
	needs(t, "skopeo")
	kubo := newKubo(t)
	liar := newRecordKeeper(t, kubo.gateway)
	other := kubo.newKey(t, "other", "ed25519")
	kubo.publish(t, "other", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	another := []byte(get(t, kubo.gateway+"/ipns/"+other+"?format=ipns-record").body)
	caddy := newCaddy(t, "ipfs_registry "+liar.URL+" {\nnames {\nipns\n}\n}")
	key := kubo.newKey(t, "victim", "ed25519")
	kubo.publish(t, "victim", "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", "--lifetime=8s")
	manifest := repository(caddy.keyed(key)+"/app") + "/manifests/latest"

	for name, lie := range map[string][]byte{
		"of another key": another,
		"of zeros":       make([]byte, 100),
		"endless":        make([]byte, 1<<20),
	} {
		liar.change(func([]byte) []byte { return lie })
		if resp := get(t, manifest); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("a record %s is answered with %d: %s", name, resp.StatusCode, resp.body)
		}
	}
	liar.change(func(record []byte) []byte { return record })
	if resp := get(t, manifest); resp.StatusCode != http.StatusNotFound || !strings.Contains(resp.body, "MANIFEST_UNKNOWN") {
		t.Errorf("the empty directory that it stands for is answered with %d: %s", resp.StatusCode, resp.body)
	}
	caddy.await(t, "an error that says that the record expired", func() bool {
		resp := get(t, manifest)
		return resp.StatusCode == http.StatusNotFound && strings.Contains(resp.body, "the record of "+key+" expired on")
	})
	_, stderr, err := try(exec.Command("skopeo", "inspect", "--tls-verify=false", "docker://"+caddy.keyed("images.example.com")+"/app"))
	if err == nil || !strings.Contains(stderr, "`names { dnslink images.example.com }`") {
		t.Errorf("skopeo says of a domain that is not allowed: %s", stderr)
	}
}

// A recordKeeper is a gateway that gives what another does, but for IPNS records.
type recordKeeper struct {
	*httptest.Server
	mu   sync.Mutex
	made func(record []byte) []byte
}

func newRecordKeeper(t *testing.T, gateway string) *recordKeeper {
	t.Helper()
	honest, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	k := new(recordKeeper)
	proxy := httputil.NewSingleHostReverseProxy(honest)
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/ipns/") {
			proxy.ServeHTTP(w, r)
			return
		}
		resp, err := fetch(gateway + r.URL.RequestURI())
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		body := []byte(resp.body)
		if resp.StatusCode == http.StatusOK {
			k.mu.Lock()
			body = k.made(body)
			k.mu.Unlock()
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		w.Write(body)
	}))
	t.Cleanup(k.Close)
	return k
}

// change sets what is made of records.
func (k *recordKeeper) change(made func(record []byte) []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made = made
}

// newDNSServer is the address of a DNS server that knows the DNSLink of a domain.
func newDNSServer(t *testing.T, domain, link string) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name := "_dnslink." + domain + "."
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		if q.Question[0].Name != name {
			answer.Rcode = dns.RcodeNameError
		} else {
			header := dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}
			answer.Answer = []dns.RR{&dns.TXT{Hdr: header, Txt: []string{"dnslink=" + link}}}
		}
		w.WriteMsg(answer)
	})}
	go server.ActivateAndServe() // which the end of its connection ends
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}
