// Zone is a DNS server on 127.0.0.1:53 with one record, its argument, written as in a
// zone file.
package main

import (
	"log"
	"os"

	"github.com/miekg/dns"
)

func main() {
	record, err := dns.NewRR(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	dns.HandleFunc(".", func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		if asked := q.Question[0]; asked.Name == record.Header().Name && asked.Qtype == record.Header().Rrtype {
			answer.Answer = []dns.RR{record}
		}
		w.WriteMsg(answer)
	})
	server := &dns.Server{Addr: "127.0.0.1:53", Net: "udp", NotifyStartedFunc: func() { log.Print("serving") }}
	log.Fatal(server.ListenAndServe())
}
