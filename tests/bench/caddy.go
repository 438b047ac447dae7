package main

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/usage"
)

const (
	ourAddress  = "127.0.0.1:15060"
	peerAddress = "127.0.0.1:15061"
)

// A server is a server program in its own process.
type server struct {
	url  string
	stop func()
	pid  int
}

// registry starts a Caddy that serves images from a gateway. It has nothing in memory.
func (b *bench) registry(gateway string) (*server, error) {
	return b.caddy(ourAddress, "ipfs_registry http://"+gateway)
}

// passOn starts a Caddy that passes requests on to a gateway, unverified, with the same
// paths as a registry.
func (b *bench) passOn(gateway string) (*server, error) {
	return b.caddy(peerAddress, "uri replace /v2/ /ipfs/ 1\nreverse_proxy "+gateway)
}

// caddy starts a Caddy with one site, which has the given directives.
func (b *bench) caddy(address, directives string) (*server, error) {
	dir := filepath.Join(b.work, "caddy-"+address)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "Caddyfile")
	text := "{\n\tadmin off\n\tpersist_config off\n\tlog {\n\t\toutput discard\n\t}\n}\nhttp://" + address + " {\n" + directives + "\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, "bin/caddy", "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	stop, err := b.start("http://"+address+"/v2/", cmd)
	if err != nil {
		return nil, err
	}
	return &server{"http://" + address, stop, cmd.Process.Pid}, nil
}

// cpu returns the processor time that the server has used so far, in seconds.
func (s *server) cpu() (float64, error) { return usage.CPUSeconds(s.pid) }

// memory returns the server's memory in bytes: VmRSS is its present size, VmHWM its
// largest.
func (s *server) memory(name string) (int64, error) { return usage.Memory(s.pid, name) }
