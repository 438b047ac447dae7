package harness

import (
	"encoding/base32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A Kubo is an IPFS node with its own repository. It has no connection to other nodes.
type Kubo struct {
	*Daemon
	Repo    string
	API     string // the URL of its RPC API
	Gateway string // the URL of its gateway
}

// NewKubo starts a node with a new repository.
func NewKubo(t *testing.T) *Kubo {
	t.Helper()
	return StartKubo(t, NewRepo(t))
}

// StartKubo starts a node on a repository.
func StartKubo(t *testing.T, repo string) *Kubo {
	t.Helper()
	cmd := exec.Command(InRepo("bin/ipfs"), "daemon", "--offline")
	cmd.Env = append(os.Environ(), "IPFS_PATH="+repo)
	k := &Kubo{Daemon: StartDaemon(t, "kubo", cmd), Repo: repo}
	k.AwaitLine(t, "Daemon is ready")
	k.Gateway = strings.TrimSpace(ReadFile(t, filepath.Join(repo, "gateway")))
	// The API's address has the form /ip4/127.0.0.1/tcp/5001.
	address := strings.Split(strings.TrimSpace(ReadFile(t, filepath.Join(repo, "api"))), "/")
	k.API = "http://" + address[2] + ":" + address[4]
	return k
}

// NewRepo makes an IPFS repository without starting a daemon. The profiles are Kubo's,
// such as those that say how `ipfs add` cuts files.
func NewRepo(t *testing.T, profiles ...string) string {
	t.Helper()
	Need(t, "bin/ipfs")
	repo := filepath.Join(t.TempDir(), "ipfs")
	IPFS(t, repo, "init", "--profile="+strings.Join(append(profiles, "test"), ","))
	return repo
}

// IPFSAdd returns the root that `ipfs add` computes for a directory with a profile.
func IPFSAdd(t *testing.T, profile, dir string) (cid string) {
	t.Helper()
	return IPFS(t, NewRepo(t, profile), "add", "--recursive", "--quieter", "--only-hash", dir)
}

// IPFS runs the ipfs command on a repository, or on its daemon if one runs, and returns
// the output.
func IPFS(t *testing.T, repo string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(Run(t, IPFSCommand(repo, args...)))
}

// IPFSCommand returns an ipfs command for a repository.
func IPFSCommand(repo string, args ...string) *exec.Cmd {
	cmd := exec.Command(InRepo("bin/ipfs"), args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+repo)
	return cmd
}

// LowerBase32 is multibase "b" without its prefix.
var LowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// AddressOf returns a CID as it is in references: its multihash alone, in base32.
func AddressOf(t *testing.T, repo, cid string) string {
	t.Helper()
	v1 := IPFS(t, repo, "cid", "format", "-v=1", "-b=base32", cid)
	b, err := LowerBase32.DecodeString(strings.TrimPrefix(v1, "b"))
	if err != nil {
		t.Fatalf("%s: %v", v1, err)
	}
	return LowerBase32.EncodeToString(b[2:]) // the version and the codec
}

// CIDv1 returns the CID of the directory with an address. It is the inverse of
// AddressOf.
func CIDv1(t *testing.T, ciq string) string {
	t.Helper()
	multihash, err := LowerBase32.DecodeString(ciq)
	if err != nil {
		t.Fatalf("%s: %v", ciq, err)
	}
	return "b" + LowerBase32.EncodeToString(append([]byte{0x01, 0x70}, multihash...))
}

// AddDir adds a directory with `ipfs add`, and returns its root.
func (k *Kubo) AddDir(t *testing.T, dir string, args ...string) (cid string) {
	t.Helper()
	return IPFS(t, k.Repo, append([]string{"add", "--recursive", "--quieter"}, append(args, dir)...)...)
}

// Add adds a file with `ipfs add`.
func (k *Kubo) Add(t *testing.T, content string, args ...string) (cid string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	WriteFile(t, file, content)
	return IPFS(t, k.Repo, append([]string{"add", "--quieter"}, append(args, file)...)...)
}

// NewKey makes an IPNS key on the node and returns it in base36, as it is in
// references.
func (k *Kubo) NewKey(t *testing.T, name, kind string) (key string) {
	t.Helper()
	return IPFS(t, k.Repo, "key", "gen", "--type="+kind, "--ipns-base=base36", name)
}

// Publish publishes a path under an IPNS key of the node.
func (k *Kubo) Publish(t *testing.T, name, path string, options ...string) {
	t.Helper()
	args := append([]string{"name", "publish", "--allow-offline", "--key=" + name, "--ttl=1s"}, options...)
	IPFS(t, k.Repo, append(args, path)...)
}
