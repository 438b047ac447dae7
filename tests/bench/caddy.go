package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
func (s *server) cpu() (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		return 0, err
	}
	// See proc(5): the field after the name, which ends with ")", is the third.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	const ticks = 100 // a second, on every Linux
	return (user + system) / ticks, err
}

// memory returns the server's memory in bytes: VmRSS is its present size, VmHWM its
// largest.
func (s *server) memory(name string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return 0, err
	}
	_, line, _ := strings.Cut(string(status), name+":")
	line, _, _ = strings.Cut(line, " kB")
	kb, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return kb << 10, err
}
