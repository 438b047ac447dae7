package names

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/miekg/dns"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// A dnsServer has TXT records by domain. It answers SERVFAIL for names that begin with
// "broken", and counts questions.
type dnsServer struct {
	address string
	asked   atomic.Int64
}

func newDNSServer(t *testing.T, texts map[string][]string) *dnsServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{address: conn.LocalAddr().String()}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		s.asked.Add(1)
		answer := new(dns.Msg).SetReply(q)
		domain, ok := strings.CutPrefix(q.Question[0].Name, "_dnslink.")
		domain = strings.TrimSuffix(domain, ".")
		header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}
		for _, text := range texts[domain] {
			answer.Answer = append(answer.Answer, &dns.TXT{Hdr: header, Txt: []string{text}})
		}
		switch {
		case strings.HasPrefix(domain, "broken"):
			answer.Rcode = dns.RcodeServerFailure
		case !ok || texts[domain] == nil:
			answer.Rcode = dns.RcodeNameError
		}
		w.WriteMsg(answer)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ActivateAndServe()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

func TestDNSLinkIsFollowedWithinTheConfiguredDomains(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	texts := map[string][]string{
		"content.example":  {"v=spf1 -all", "dnslink=" + pathOf("x") + "/a/B"},
		"legacy.example":   {"dnslink=" + pathOf("x")[len("/ipfs/"):]},
		"cidv0.example":    {"dnslink=/ipfs/" + cidV0("x")},
		"key.example":      {"dnslink=/ipns/" + o.name.String() + "/b/"},
		"domain.example":   {"dnslink=/ipns/Content.Example./c"},
		"strange.example":  {"dnslink=/ipns/internal.example"},
		"circle.example":   {"dnslink=/ipns/circle.example"},
		"two.example":      {"dnslink=" + pathOf("x"), "dnslink=" + pathOf("y")},
		"none.example":     {"v=spf1 -all", "dnslink=", "dnslink=/ipld/x"},
		"upwards.example":  {"dnslink=" + pathOf("x") + "/../y"},
		"nonsense.example": {"dnslink=/ipfs/nonsense"},
	}
	server := newDNSServer(t, texts)
	c := Config{Server: server.address, Domains: []string{"absent.example", "broken.example"}}
	for domain := range texts {
		c.Domains = append(c.Domains, domain)
	}
	w := newWorld(t, c, gives(o.publish(t, pathOf("x")+"/a", 1)))
	for domain, path := range map[string]string{
		"content.example": "a/B",
		"legacy.example":  "",
		"cidv0.example":   "",
		"key.example":     "a/b", // which is followed, though not every key is allowed
		"domain.example":  "a/B/c",
	} {
		if got := w.must(Name{domain: domain}, "x"); got.Path != path || time.Until(got.Expires) > dnslinkTTL {
			t.Errorf("%s: path %q, expires in %s", domain, got.Path, time.Until(got.Expires))
		}
	}
	asked := server.asked.Load()
	w.must(Name{domain: "content.example"}, "x")
	if server.asked.Load() != asked {
		t.Error("a known link was looked up")
	}
	for domain, want := range map[string]struct {
		text   string
		absent bool
	}{
		"strange.example":  {"internal.example is not allowed", false},
		"circle.example":   {"more than 8 names", true},
		"two.example":      {"there are 2 TXT records with a DNSLink (\"" + pathOf("x") + "\", \"" + pathOf("y") + "\")", false},
		"none.example":     {"it has no TXT record dnslink=/ipfs/<cid>", true},
		"upwards.example":  {"dotted parts", true},
		"nonsense.example": {"not a CID", true},
		"absent.example":   {"a TXT record of _dnslink.absent.example", true},
		"broken.example":   {"asking DNS server " + server.address + " for the DNSLink of broken.example", false},
	} {
		w.forget()
		err := w.mustNot(Name{domain: domain})
		reported := domain == "two.example" || domain == "broken.example"
		if n := len(w.failures); (n == 1) != reported || reported && !strings.Contains(w.failures[0].Error(), server.address) {
			t.Errorf("%s: reported %v", domain, w.failures)
		}
		if !strings.Contains(err.Error(), want.text) || errors.Is(err, fs.ErrNotExist) != want.absent {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

func TestDNSLinkIsUsedForAnHourWhileLookupsFail(t *testing.T) {
	n := Name{domain: "example.com"}
	synctest.Test(t, func(t *testing.T) {
		target, err := parseTexts([]string{"dnslink=" + pathOf("x")})
		if err != nil {
			t.Fatal(err)
		}
		var failure error
		w := newWorld(t, Config{Domains: []string{n.domain}})
		lookups := 0
		w.links.lookup = func(context.Context, Name) (link, error) {
			lookups++
			return link{target: target, fresh: time.Now().Add(dnslinkTTL), valid: time.Now().Add(dnslinkStale)}, failure
		}
		w.must(n, "x")
		failure = errors.New("no resolver answers")
		clocktest.Advance(dnslinkTTL)
		w.must(n, "x")
		w.must(n, "x")
		if lookups != 2 {
			t.Errorf("%d look-ups", lookups)
		}
		failure = fs.ErrNotExist
		clocktest.Advance(retryInterval)
		w.mustNot(n)
		failure = errors.New("no resolver answers")
		w.mustNot(n) // a removed link does not come back
		failure = nil
		w.must(n, "x")
		failure = errors.New("no resolver answers")
		clocktest.Advance(dnslinkStale)
		w.mustNot(n)
	})
}

func TestValidRecordIsUsedThoughGatewaysHaveNone(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.publish(t, pathOf("x"), 1)))
		w.must(o.name, "x")
		w.links.lookup = func(context.Context, Name) (link, error) {
			return link{}, gateway.Error{{Err: fs.ErrNotExist}}
		}
		clocktest.Advance(time.Minute)
		w.must(o.name, "x")
	})
}

func TestPanicFailsItsLookupOnly(t *testing.T) {
	n := Name{domain: "example.com"}
	w := newWorld(t, Config{Domains: []string{n.domain}})
	w.links.lookup = func(context.Context, Name) (link, error) { panic("hostile bytes") }
	if err := w.mustNot(n); !strings.Contains(err.Error(), "looking up example.com: panic: hostile bytes") {
		t.Error(err)
	}
	root, _ := content("x")
	w.links.lookup = func(context.Context, Name) (link, error) {
		return link{target: target{root: root}, fresh: time.Now().Add(time.Hour)}, nil
	}
	w.must(n, "x")
}

func TestOnlyAddressesOfDNSServersAreParsed(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1":      "192.0.2.1:53",
		"192.0.2.1:5353": "192.0.2.1:5353",
		"::1":            "[::1]:53",
		"[::1]":          "[::1]:53",
		"[::1]:5353":     "[::1]:5353",
		"coredns:53":     "coredns:53",
		"dns.example":    "dns.example:53",
	} {
		if got, err := ParseServer(s); err != nil || got != want {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", ":53", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:dns", "https://dns.example", "a b"} {
		if got, err := ParseServer(s); err == nil {
			t.Errorf("%q is parsed as %s", s, got)
		}
	}
}
