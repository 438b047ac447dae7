package caddymodule

import (
	"strings"
	"testing"
)

func TestRefusedNames(t *testing.T) {
	for config, want := range map[string]string{
		`{"names":{}}`:                                              "configure at least one of them",
		`{"names":{"resolver":"127.0.0.1"}}`:                        "configure at least one of them",
		`{"names":{"ipns":true}}`:                                   "'ipns' needs a gateway",
		`{"names":{"dnslink":["*.example.com"]}}`:                   "setting up names: \"*.example.com\" is not a domain",
		`{"names":{"dnslink":["example.com"],"resolver":"udp://"}}`: "setting up names: invalid resolver",
	} {
		if _, err := provision(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}
