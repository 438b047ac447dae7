package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A node is a Kubo that serves as a gateway.
type node struct {
	repo string
	stop func()
}

const (
	nodeAPI     = "127.0.0.1:15058"
	nodeGateway = "127.0.0.1:15059"
)

func (b *bench) newNode(repo string) (*node, error) {
	n := &node{repo: repo}
	err := errors.Join(
		n.ipfs("init", "--profile=test"),
		n.ipfs("config", "Addresses.API", multiaddr(nodeAPI)),
		n.ipfs("config", "Addresses.Gateway", multiaddr(nodeGateway)))
	if err != nil {
		return nil, err
	}
	return n, b.startNode(n)
}

func (b *bench) startNode(n *node) error {
	stop, err := b.start("http://"+nodeGateway+"/ipfs/bafkqaaa?format=raw", n.command("daemon", "--offline"))
	if err == nil {
		n.stop = stop
	}
	return err
}

func (n *node) command(args ...string) *exec.Cmd {
	cmd := exec.Command("bin/ipfs", args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+n.repo)
	return cmd
}

func (n *node) ipfs(args ...string) error { return output(n.command(args...)) }

// add adds a directory and returns its root, as CIDv1.
func (n *node) add(dir string, flags ...string) (string, error) {
	args := append([]string{"add", "--recursive", "--quieter"}, flags...)
	root, err := n.command(append(args, dir)...).Output()
	if err != nil {
		return "", err
	}
	v1, err := n.command("cid", "base32", strings.TrimSpace(string(root))).Output()
	return strings.TrimSpace(string(v1)), err
}

// A published is an image on the node, with one layer.
type published struct {
	shape    string // how blobs are cut into leaves
	root     string // as CIDv1
	manifest string // its path below the root
	layer    string // its path below the root

	manifestSize int
	size         int64 // of the layer
}

// inRegistry returns the path in a registry of something below the root.
func (p published) inRegistry(at string) string { return "/v2/" + p.root + "/" + at }

// inGateway returns the path in a gateway of something below the root.
func (p published) inGateway(at string) string { return "/ipfs/" + p.root + "/" + at }

// benchName is the image's name below its root.
const benchName = "bench/debian"

// twice writes an archive of an image with a layer of about 100 MB: the layer of v2, two
// times.
func (b *bench) twice(archive string) error {
	layer := filepath.Join(b.work, "layer")
	f, err := os.Create(layer)
	if err != nil {
		return err
	}
	return errors.Join(layerOf(b.v2, f), f.Close(), writeArchive(layer, archive, 2), os.Remove(layer))
}

// publish adds an image with a layer of about 100 MB to the node, by the converter, and
// the same files by `ipfs add`.
func (b *bench) publish(n *node) ([]published, error) {
	archive, dir := filepath.Join(b.work, "twice.tar"), filepath.Join(b.work, "published")
	defer func() { os.Remove(archive); os.RemoveAll(dir) }()
	if err := b.twice(archive); err != nil {
		return nil, err
	}
	printed, err := exec.CommandContext(b.ctx, b.converter, "--quiet", "--input", archive, "--ipfs-api", "http://"+nodeAPI).Output()
	if err != nil {
		return nil, fmt.Errorf("publishing: %w", err)
	}
	address, _, _ := strings.Cut(string(printed), "/"+benchName)
	root, err := cidname.Parse(address[strings.LastIndex(address, "/")+1:])
	if err != nil {
		return nil, err
	}
	aligned, err := inspect(published{shape: "aligned", root: root.String()})
	if err != nil {
		return nil, err
	}
	all := []published{aligned}
	if err := n.ipfs("get", "--output="+dir, "/ipfs/"+aligned.root); err != nil {
		return nil, err
	}
	for _, added := range []struct {
		shape string
		flags []string
	}{
		{"1 MiB", []string{"--cid-version=1", "--chunker=size-1048576"}},
		{"Kubo v0", nil},
	} {
		p := aligned
		p.shape = added.shape
		if p.root, err = n.add(dir, added.flags...); err != nil {
			return nil, fmt.Errorf("publishing: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// inspect reads the manifest of an image on the node, and fills in where its layer is.
func inspect(p published) (published, error) {
	p.manifest = benchName + "/manifests/1"
	resp, err := http.Get("http://" + nodeGateway + p.inGateway(p.manifest))
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	var m struct {
		Layers []struct {
			Digest string
			Size   int64
		}
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(content, &m); err != nil || len(m.Layers) != 1 {
		return p, fmt.Errorf("%s: %s with %d layers: %w", p.inGateway(p.manifest), resp.Status, len(m.Layers), err)
	}
	p.manifestSize = len(content)
	p.layer, p.size = benchName+"/blobs/"+m.Layers[0].Digest, m.Layers[0].Size
	return p, nil
}
