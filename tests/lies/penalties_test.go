package lies

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// What a gateway did is remembered: a liar is not asked first twice.
func TestLyingGatewayIsNotPreferredTwice(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	pictures := newPictures(t, kubo)
	server := newLyingServer(t, kubo, kubo, []lie{{
		name: "an error", mode: full, every: true, place: anywhere,
		tell: func(l *lieBeingTold) { l.page(http.StatusInternalServerError) },
	}})
	sites := newSites(t, 2, func(i int) [][]string {
		liar, honest := server.gateway(full, 0, fmt.Sprint(i)), server.gateway(full, server.honest(), fmt.Sprint(i))
		return [][][]string{{{liar, honest}}, {{liar}, {honest}}}[i]
	})
	ask := func(site int, im *picture, op operation) {
		t.Helper()
		if v, err := op.try(sites.client, sites.host(site), sites.url+im.path()); v != right {
			t.Errorf("%s, %s: %v", im.name, op.name, err)
		}
	}
	for _, im := range pictures {
		for _, op := range im.operations() {
			ask(0, im, op)
		}
	}
	if n := server.account(full, 0, "0").lies; n != 1 {
		t.Errorf("of gateways that are as good as each other, the liar was asked %d times", n)
	}
	// A preferred one stays that, but for what it failed with.
	blob := pictures[0].operations()[3]
	ask(1, pictures[0], blob)
	first := server.account(full, 0, "1").lies
	for range 5 {
		ask(1, pictures[0], blob)
	}
	if n := server.account(full, 0, "1").lies; first == 0 || n != first {
		t.Errorf("a preferred liar was asked %d times for a blob, and %d times after the blob was asked for again", first, n)
	}
}

// Anybody can make honest gateways look bad, by publishing a DAG that is wrong
// in itself, and by asking for what does not exist. The next image is served as
// if nothing had been.
func TestFalseContentIsNotBlamedOnHonestGateways(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	pictures := newPictures(t, kubo)
	falseSizes := addFalseSizes(t, kubo)
	server := newLyingServer(t, kubo, kubo, nil)
	const before, after = "before", "after" // the same site, asked for something bad or not
	names := []string{before, after}
	sites := newSites(t, 4, func(i int) [][]string {
		a, b := server.gateway(full, 0, fmt.Sprint("a", names[i%2], i/2)), server.gateway(full, 0, fmt.Sprint("b", names[i%2], i/2))
		return [][][]string{{{a, b}}, {{a}, {b}}}[i/2]
	})
	try := func(site int, im *picture, op operation) (verdict, error) {
		return op.try(sites.client, sites.host(site), sites.url+im.path())
	}
	for group := range 2 {
		bad := 2*group + 1
		for path, what := range falseSizes.content {
			if v, err := try(bad, falseSizes, operation{method: "GET", path: "/blobs/" + path, status: 200, body: what}); v != refused {
				t.Errorf("a file that says wrongly how long its leaves are: %v", err)
			}
		}
		for i := range 40 {
			hash, err := mh.Sum(fmt.Appendf(nil, "no such image %d", i), mh.SHA2_256, -1)
			if err != nil {
				t.Fatal(err)
			}
			nowhere := &picture{cid: cid.NewCidV1(cid.DagProtobuf, hash).String()}
			if v, err := try(bad, nowhere, operation{method: "GET", path: "/manifests/latest", status: 200}); v != refused {
				t.Errorf("what nobody has: %v", err)
			}
		}
		asked := map[string]int{}
		for i, name := range names {
			skip := map[string]int{}
			for _, g := range []string{"a", "b"} {
				skip[g] = len(server.account(full, 0, fmt.Sprint(g, name, group)).honest)
			}
			for _, im := range pictures {
				for _, op := range im.operations() {
					if v, err := try(2*group+i, im, op); v != right {
						t.Errorf("%s, %s: %v", im.name, op.name, err)
					}
				}
			}
			for _, g := range []string{"a", "b"} {
				asked[g+name] = len(server.account(full, 0, fmt.Sprint(g, name, group)).honest) - skip[g]
			}
		}
		t.Logf("requests: %v", asked)
		if asked["a"+before]+asked["b"+before] != asked["a"+after]+asked["b"+after] {
			t.Errorf("a good image takes %v requests", asked)
		}
		switch {
		case group == 0 && (asked["a"+after] == 0 || asked["b"+after] == 0):
			t.Errorf("one of two gateways that are as good as each other was left out: %v", asked)
		case group == 1 && asked["b"+after] != asked["b"+before]:
			t.Errorf("the preferred gateway is not preferred any more: %v", asked)
		}
	}
}

// addFalseSizes puts an image onto a node whose blobs' nodes have right hashes
// and say wrongly how long the leaves are.
func addFalseSizes(t *testing.T, k *harness.Kubo) *picture {
	t.Helper()
	im := &picture{name: "false sizes", content: map[string]string{}}
	var b bytes.Buffer
	car, err := car.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]unixfs.Node{}
	for i, off := range []int64{-1, +1, -50_000} {
		table := unixfs.V1.NewTable()
		content := ""
		for j := range 3 {
			leaf := strings.Repeat(fmt.Sprint(i, j), 40_000)
			content += leaf
			table.Leaves = append(table.Leaves, unixfs.Leaf{Digest: sha256.Sum256([]byte(leaf)), End: int64(len(content))})
			put(t, car, table.Block(j, []byte(leaf)))
		}
		table.Leaves[1].End += off
		file, err := unixfs.V1.Layout(table)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range file.Nodes {
			put(t, car, n)
		}
		digest := harness.DigestOf([]byte(content))
		im.content[digest] = content
		files[harness.ImageName+"/blobs/"+digest] = file.Node
	}
	root, err := unixfs.V1.Tree(t.Context(), files, car.Put)
	if err != nil {
		t.Fatal(err)
	}
	im.cid = root.CID.String()
	importCAR(t, k, b.String())
	return im
}

func put(t *testing.T, car *car.Writer, b unixfs.Block) {
	t.Helper()
	if err := car.Put(b); err != nil {
		t.Fatal(err)
	}
}

func importCAR(t *testing.T, k *harness.Kubo, car string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "blocks.car")
	harness.WriteFile(t, file, car)
	harness.IPFS(t, k.Repo, "dag", "import", "--pin-roots=false", file)
	os.Remove(file)
}
