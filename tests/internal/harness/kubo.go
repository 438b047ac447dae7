package harness

import (
	"encoding/base32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A Kubo is a real IPFS node with a repository of its own. It knows no other
// node.
type Kubo struct {
	*Daemon
	Repo    string
	API     string // the URL of its RPC API
	Gateway string // the URL of its gateway
}

func NewKubo(t *testing.T) *Kubo {
	t.Helper()
	return StartKubo(t, NewRepo(t))
}

func StartKubo(t *testing.T, repo string) *Kubo {
	t.Helper()
	cmd := exec.Command(InRepo("bin/ipfs"), "daemon", "--offline")
	cmd.Env = append(os.Environ(), "IPFS_PATH="+repo)
	k := &Kubo{Daemon: StartDaemon(t, "kubo", cmd), Repo: repo}
	k.AwaitLine(t, "Daemon is ready")
	k.Gateway = strings.TrimSpace(ReadFile(t, filepath.Join(repo, "gateway")))
	// The API's address is of the form /ip4/127.0.0.1/tcp/5001.
	address := strings.Split(strings.TrimSpace(ReadFile(t, filepath.Join(repo, "api"))), "/")
	k.API = "http://" + address[2] + ":" + address[4]
	return k
}

// NewRepo makes an IPFS repository that no daemon runs on. What is added there
// is cut as the profiles say.
func NewRepo(t *testing.T, profiles ...string) string {
	t.Helper()
	Need(t, "bin/ipfs")
	repo := filepath.Join(t.TempDir(), "ipfs")
	IPFS(t, repo, "init", "--profile="+strings.Join(append(profiles, "test"), ","))
	return repo
}

// IPFSAdd is the root that `ipfs add` gives a folder. The repository is new and
// only hashes, so a profile can be set and nothing is kept.
func IPFSAdd(t *testing.T, profile, dir string) (cid string) {
	t.Helper()
	return IPFS(t, NewRepo(t, profile), "add", "--recursive", "--quieter", "--only-hash", dir)
}

// IPFS runs the ipfs command on a repository, or on the daemon that runs there.
func IPFS(t *testing.T, repo string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(Run(t, IPFSCommand(repo, args...)))
}

func IPFSCommand(repo string, args ...string) *exec.Cmd {
	cmd := exec.Command(InRepo("bin/ipfs"), args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+repo)
	return cmd
}

var LowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// AddressOf is a CID as our references have it: its multihash alone, in base32.
func AddressOf(t *testing.T, repo, cid string) string {
	t.Helper()
	v1 := IPFS(t, repo, "cid", "format", "-v=1", "-b=base32", cid)
	b, err := LowerBase32.DecodeString(strings.TrimPrefix(v1, "b"))
	if err != nil {
		t.Fatalf("%s: %v", v1, err)
	}
	return LowerBase32.EncodeToString(b[2:]) // the version and the codec
}

// CIDv1 is what ciq undoes: the CID that IPFS knows an image's root by.
func CIDv1(t *testing.T, ciq string) string {
	t.Helper()
	multihash, err := LowerBase32.DecodeString(ciq)
	if err != nil {
		t.Fatalf("%s: %v", ciq, err)
	}
	return "b" + LowerBase32.EncodeToString(append([]byte{0x01, 0x70}, multihash...))
}

// AddDir is `ipfs add` of a folder, which gives the root.
func (k *Kubo) AddDir(t *testing.T, dir string, args ...string) (cid string) {
	t.Helper()
	return IPFS(t, k.Repo, append([]string{"add", "--recursive", "--quieter"}, append(args, dir)...)...)
}

// Add is `ipfs add` of one file.
func (k *Kubo) Add(t *testing.T, content string, args ...string) (cid string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	WriteFile(t, file, content)
	return IPFS(t, k.Repo, append([]string{"add", "--quieter"}, append(args, file)...)...)
}

// NewKey makes an IPNS key on the node, and spells it for an image name.
func (k *Kubo) NewKey(t *testing.T, name, kind string) (key string) {
	t.Helper()
	return IPFS(t, k.Repo, "key", "gen", "--type="+kind, "--ipns-base=base36", name)
}

// Publish signs what a key stands for.
func (k *Kubo) Publish(t *testing.T, name, path string, options ...string) {
	t.Helper()
	args := append([]string{"name", "publish", "--allow-offline", "--key=" + name, "--ttl=1s"}, options...)
	IPFS(t, k.Repo, append(args, path)...)
}
