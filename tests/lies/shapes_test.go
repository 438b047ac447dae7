package lies

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Whatever DAG a node builds for an image, with whatever metadata, the registry serves
// the right bytes, from gateways of every mode.
func TestEveryDAGShapeGivesTheRightBytes(t *testing.T) {
	harness.Parallel(t)
	node := harness.NewKubo(t)
	aligned := convertPicture(t, node, pictureArchive(t, 1))
	dir := filepath.Join(t.TempDir(), "image")
	harness.IPFS(t, node.Repo, "get", "--output="+dir, "/ipfs/"+aligned.cid)
	manifests := filepath.Join(dir, harness.ImageName, "manifests")

	var pictures []*picture
	add := func(name string, cid string) {
		im := *aligned
		im.name, im.cid = name, cid
		pictures = append(pictures, &im)
	}
	for name, args := range map[string][]string{
		"trickle":                  {"--trickle", "--chunker=size-65536"},
		"deep trickle":             {"--trickle", "--chunker=size-8192", "--max-file-links=4"},
		"trickle, raw leaves":      {"--trickle", "--cid-version=1", "--chunker=size-65536"},
		"deep":                     {"--chunker=size-16384", "--max-file-links=3"},
		"version 1, wrapped":       {"--cid-version=1", "--raw-leaves=false"},
		"version 0, raw leaves":    {"--raw-leaves"},
		"mode and time":            {"--preserve-mode", "--preserve-mtime"},
		"mode and time, version 1": {"--preserve-mode", "--preserve-mtime", "--cid-version=1"},
		"rabin":                    {"--cid-version=1", "--chunker=rabin"},
		"buzhash":                  {"--cid-version=1", "--chunker=buzhash"},
		"sharded":                  {"--cid-version=1", "--max-directory-links=1", "--max-hamt-fanout=8"},
	} {
		add(name, addDir(t, node, dir, args...))
	}
	for _, hash := range []string{"blake2b-256", "sha2-512", "blake3", "sha3-256"} {
		add(hash, below(t, node, aligned, addFile(t, node, aligned.content[aligned.layer], "--hash="+hash, "--chunker=size-65536")))
	}
	add("leaves inside CIDs", below(t, node, aligned, addFile(t, node, aligned.content[aligned.layer],
		"--cid-version=1", "--inline", "--inline-limit=100", "--chunker=size-100", "--max-file-links=500")))
	add("blake2b-256 leaves of a sha2-256 file", below(t, node, aligned, mixed(t, node, aligned.content[aligned.layer], "blake2b-256")))
	for i := range 3000 {
		harness.WriteFile(t, filepath.Join(manifests, fmt.Sprintf("sha256:%064x", i)), fmt.Sprint(i))
	}
	add("3000 manifests", addDir(t, node, dir, "--cid-version=1"))
	add("3000 manifests, version 0", addDir(t, node, dir))

	trustlessNode := newTrustlessKubo(t, node, roots(pictures)...)
	type shapeCase struct {
		mode
		im *picture
		op operation
	}
	var cases []shapeCase
	for _, im := range pictures {
		for _, op := range im.operations() {
			for m := range modes {
				cases = append(cases, shapeCase{m, im, op})
			}
		}
	}
	server := newLyingServer(t, node, trustlessNode, nil)
	sites := newSites(t, len(cases), func(i int) [][]string {
		return [][]string{{server.gateway(cases[i].mode, server.honest(), "all")}}
	})
	inParallel(len(cases), 4, func(i int) {
		c := cases[i]
		switch v, err := c.op.try(sites.client, sites.host(i), sites.url+c.im.path()); v {
		case wrong:
			t.Errorf("WRONG: %s, %s, %s: %v", c.im.name, c.mode, c.op.name, err)
		case refused:
			t.Errorf("%s, %s, %s: %v", c.im.name, c.mode, c.op.name, err)
		}
	})
	t.Logf("%d shapes, %d operations", len(pictures), len(cases))
	if log := sites.Log.String(); strings.Contains(log, "false content") {
		t.Errorf("the log blames an honest gateway:\n%s", log)
	}
}

// addFile adds content to a node.
func addFile(t *testing.T, k *harness.Kubo, content string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	harness.WriteFile(t, file, content)
	return harness.IPFS(t, k.Repo, append(append([]string{"add", "--quieter"}, args...), file)...)
}

// below returns the root of the image with another file as its layer.
func below(t *testing.T, k *harness.Kubo, im *picture, file string) (root string) {
	t.Helper()
	blob := "/image/" + harness.ImageName + "/blobs/" + im.layer
	harness.IPFS(t, k.Repo, "files", "cp", "/ipfs/"+im.cid, "/image")
	defer harness.IPFS(t, k.Repo, "files", "rm", "-r", "/image")
	harness.IPFS(t, k.Repo, "files", "rm", blob)
	harness.IPFS(t, k.Repo, "files", "cp", "/ipfs/"+file, blob)
	return harness.IPFS(t, k.Repo, "cid", "base32", harness.IPFS(t, k.Repo, "files", "stat", "--hash", "/image"))
}

// mixed adds a file to a node whose leaves have another hash function than its root,
// which `ipfs add` cannot make.
func mixed(t *testing.T, k *harness.Kubo, content, hash string) string {
	t.Helper()
	message := []byte{0x08, 0x02, 0x18} // type: file; filesize
	message = binary.AppendUvarint(message, uint64(len(content)))
	var links []byte
	dir := t.TempDir()
	for i := 0; len(content) > 0; i++ {
		part := content[:min(200_000, len(content))]
		content = content[len(part):]
		file := filepath.Join(dir, fmt.Sprint(i))
		harness.WriteFile(t, file, part)
		leaf := cid.MustParse(harness.IPFS(t, k.Repo, "block", "put", "--cid-codec=raw", "--mhtype="+hash, file)).Bytes()
		link := binary.AppendUvarint([]byte{0x0a}, uint64(len(leaf))) // hash
		link = append(append(link, leaf...), 0x12, 0x00, 0x18)        // name, size
		link = binary.AppendUvarint(link, uint64(len(part)))
		links = binary.AppendUvarint(append(links, 0x12), uint64(len(link)))
		links = append(links, link...)
		message = binary.AppendUvarint(append(message, 0x20), uint64(len(part))) // blocksize
	}
	block := binary.AppendUvarint(append(links, 0x0a), uint64(len(message)))
	file := filepath.Join(dir, "root")
	if err := os.WriteFile(file, append(block, message...), 0o644); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(harness.IPFS(t, k.Repo, "block", "put", "--cid-codec=dag-pb", "--mhtype=sha2-256", file))
}
