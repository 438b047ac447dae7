package harness

import (
	"net"
	"testing"

	"github.com/miekg/dns"
)

// NewDNSServer starts a DNS server that has the DNSLink of one domain and nothing else.
// It returns the server's address.
func NewDNSServer(t *testing.T, domain, link string) (address string) {
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
	go server.ActivateAndServe() // until its connection is closed
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}
