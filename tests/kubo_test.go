package tests

import (
	"encoding/base32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A kubo is a real IPFS node with a repository of its own. It knows no other
// node.
type kubo struct {
	*daemon
	repo    string
	api     string // the URL of its RPC API
	gateway string // the URL of its gateway
}

func newKubo(t *testing.T) *kubo {
	t.Helper()
	return startKubo(t, newRepo(t))
}

func startKubo(t *testing.T, repo string) *kubo {
	t.Helper()
	cmd := exec.Command(inRepo("bin/ipfs"), "daemon", "--offline")
	cmd.Env = append(os.Environ(), "IPFS_PATH="+repo)
	k := &kubo{daemon: startDaemon(t, "kubo", cmd), repo: repo}
	k.awaitLine(t, "Daemon is ready")
	k.gateway = strings.TrimSpace(readFile(t, filepath.Join(repo, "gateway")))
	// The API's address is of the form /ip4/127.0.0.1/tcp/5001.
	address := strings.Split(strings.TrimSpace(readFile(t, filepath.Join(repo, "api"))), "/")
	k.api = "http://" + address[2] + ":" + address[4]
	return k
}

// newRepo makes an IPFS repository that no daemon runs on. What is added there
// is cut as the profiles say.
func newRepo(t *testing.T, profiles ...string) string {
	t.Helper()
	needs(t, "bin/ipfs")
	repo := filepath.Join(t.TempDir(), "ipfs")
	ipfs(t, repo, "init", "--profile="+strings.Join(append(profiles, "test"), ","))
	return repo
}

// ipfsAdd is the root that `ipfs add` gives a folder. The repository is new and
// only hashes, so a profile can be set and nothing is kept.
func ipfsAdd(t *testing.T, profile, dir string) (cid string) {
	t.Helper()
	return ipfs(t, newRepo(t, profile), "add", "--recursive", "--quieter", "--only-hash", dir)
}

// ipfs runs the ipfs command on a repository, or on the daemon that runs there.
func ipfs(t *testing.T, repo string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(run(t, ipfsCommand(repo, args...)))
}

func ipfsCommand(repo string, args ...string) *exec.Cmd {
	cmd := exec.Command(inRepo("bin/ipfs"), args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+repo)
	return cmd
}

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ciq is a CID as our references have it: its multihash alone, in base32.
func ciq(t *testing.T, repo, cid string) string {
	t.Helper()
	v1 := ipfs(t, repo, "cid", "format", "-v=1", "-b=base32", cid)
	b, err := lowerBase32.DecodeString(strings.TrimPrefix(v1, "b"))
	if err != nil {
		t.Fatalf("%s: %v", v1, err)
	}
	return lowerBase32.EncodeToString(b[2:]) // the version and the codec
}

// cidV1 is what ciq undoes: the CID that IPFS knows an image's root by.
func cidV1(t *testing.T, ciq string) string {
	t.Helper()
	multihash, err := lowerBase32.DecodeString(ciq)
	if err != nil {
		t.Fatalf("%s: %v", ciq, err)
	}
	return "b" + lowerBase32.EncodeToString(append([]byte{0x01, 0x70}, multihash...))
}
