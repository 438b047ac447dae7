package caddymodule

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// Two registries on one port would each get some of the requests.
func TestPortOfAnotherProgramIsRefused(t *testing.T) {
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := checkFree(address); err == nil || !strings.Contains(err.Error(), address+" is taken by another program") {
		t.Errorf("a taken port gives %v", err)
	}
	l.Close()
	for _, free := range []string{address, "unix//run/registry.sock"} {
		if err := checkFree(free); err != nil {
			t.Errorf("%s: %v", free, err)
		}
	}
}

// A store that Caddy's user cannot read is in the log from the start.
func TestStoreThatCannotBeReadIsLogged(t *testing.T) {
	dir := t.TempDir()
	// Root can read any directory, but not list a file.
	if err := os.WriteFile(filepath.Join(dir, "nodes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	if _, err := (&Store{Directory: dir}).provision(zap.New(core)); err != nil {
		t.Fatal(err)
	}
	if logs.FilterMessage("Caddy's user cannot read the store").Len() != 1 {
		t.Errorf("logged %v", logs.All())
	}
}
