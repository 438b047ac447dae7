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

// A gateway that lied or failed is not asked first again. This lasts a minute, and so is
// tested well within one.
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
		t.Errorf("in a group of two, the liar was asked %d times, want once", n)
	}
	// A gateway of the first group stays preferred, except for what it failed with.
	blob := pictures[0].operations()[3]
	ask(1, pictures[0], blob)
	first := server.account(full, 0, "1").lies
	for range 5 {
		ask(1, pictures[0], blob)
	}
	if n := server.account(full, 0, "1").lies; first == 0 || n != first {
		t.Errorf("the liar of the first group was asked %d times for a blob, and %d times in all after more requests for that blob", first, n)
	}
}

// Honest gateways are not blamed for a DAG that its publisher made wrong, or for a missing
// image. Otherwise any publisher or client could turn the registry against them. The next
// image takes as many requests as before.
func TestFalseContentIsNotBlamedOnHonestGateways(t *testing.T) {
	harness.Parallel(t)
	kubo := harness.NewKubo(t)
	pictures := newPictures(t, kubo)
	falseSizes := addFalseSizes(t, kubo)
	server := newLyingServer(t, kubo, kubo, nil)
	const before, after = "before", "after" // sites that differ in whether they were asked for something bad
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
				t.Errorf("a file with wrong sizes of leaves is not refused: %v", err)
			}
		}
		for i := range 40 {
			hash, err := mh.Sum(fmt.Appendf(nil, "no such image %d", i), mh.SHA2_256, -1)
			if err != nil {
				t.Fatal(err)
			}
			nowhere := &picture{cid: cid.NewCidV1(cid.DagProtobuf, hash).String()}
			if v, err := try(bad, nowhere, operation{method: "GET", path: "/manifests/latest", status: 200}); v != refused {
				t.Errorf("a missing image is not refused: %v", err)
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
			t.Errorf("a good image takes more or fewer requests than before: %v", asked)
		}
		switch {
		case group == 0 && (asked["a"+after] == 0 || asked["b"+after] == 0):
			t.Errorf("one of two gateways in a group is no longer asked: %v", asked)
		case group == 1 && asked["b"+after] != asked["b"+before]:
			t.Errorf("the gateway of the first group is no longer preferred: %v", asked)
		}
	}
}

// addFalseSizes adds an image to a node. The nodes above its leaves have right hashes and
// wrong sizes.
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
