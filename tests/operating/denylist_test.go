package operating

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// nopfs, the reference implementation of deny lists, has the same verdict as ours on
// thousands of paths, by the same rule.
func TestDenylistVerdictsAreThoseOfNopfs(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/nopfs")
	const lists, rules, paths = 4, 1500, 5000
	verdicts := map[string]int{}
	for seed := range uint64(lists) {
		g := &denyGenerator{Rand: rand.New(rand.NewPCG(seed, 383))}
		list, asked := g.list(rules), g.paths(paths)
		file := filepath.Join(t.TempDir(), "list.deny")
		harness.WriteFile(t, file, list)

		nopfs := exec.Command(harness.InRepo("bin/nopfs"), file)
		nopfs.Stdin = strings.NewReader(strings.Join(asked, "\n") + "\n")
		theirs := strings.Split(strings.TrimSpace(harness.Run(t, nopfs)), "\n")
		if len(theirs) != len(asked) {
			t.Fatalf("nopfs has %d verdicts on %d paths", len(theirs), len(asked))
		}
		ours, err := denylist.Parse(file, strings.NewReader(list))
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range asked {
			got := verdictOn(ours, path)
			if got != theirs[i] {
				t.Errorf("seed %d: %s: %s, and nopfs says %s", seed, path, got, theirs[i])
			}
			verdicts[strings.SplitN(got, " ", 2)[1]]++
		}
	}
	t.Logf("%d rules: %v", lists*rules, verdicts)
	for _, verdict := range []string{"blocked", "allowed", "not found"} {
		if verdicts[verdict] < paths/10 {
			t.Errorf("only %d paths are %s: the generator must make more", verdicts[verdict], verdict)
		}
	}
}

// verdictOn returns our verdict on a path, in the words of nopfs.
func verdictOn(l *denylist.List, path string) string {
	namespace, rest, _ := strings.Cut(path[1:], "/")
	of, path, _ := strings.Cut(rest, "/")
	var v denylist.Verdict
	if namespace == "ipns" {
		v = l.MatchName(of, path)
	} else {
		v = l.Match(cid.MustParse(of), path)
	}
	switch {
	case v.Line == 0:
		return "0 not found"
	case v.Allow:
		return fmt.Sprintf("%d allowed", v.Line)
	}
	return fmt.Sprintf("%d blocked", v.Line)
}

// A denyGenerator makes rules and paths about few subjects, so that many rules match.
type denyGenerator struct{ *rand.Rand }

const denySubjects = 300

// list returns n rules, ordered by kind. In the specification, the last rule that matches
// decides. nopfs looks at rules that are not hashed first, then at those of badbits, then
// at the others. In this order, both come to the same verdict.
func (g *denyGenerator) list(n int) string {
	var list strings.Builder
	list.WriteString("version: 1\nname: generated\nhints:\n  gateway_status: 410\n---\n")
	for _, rule := range []func() string{g.modern, g.legacy, g.plain} {
		for range n / 3 {
			if g.IntN(3) == 0 {
				list.WriteString("!")
			}
			list.WriteString(rule())
			list.WriteString([]string{"", " ", " reason=test", " # gateway_status=451", "\n", "\n# a comment"}[g.IntN(6)] + "\n")
		}
	}
	return list.String()
}

func (g *denyGenerator) paths(n int) (paths []string) {
	for range n {
		p, _, _ := g.subject()
		if path := g.path(); path != "" {
			p += "/" + path
		}
		paths = append(paths, p)
	}
	return paths
}

// subject returns the path of a root or name, and the texts that double hashes of both
// kinds are computed from.
func (g *denyGenerator) subject() (path, modern, legacy string) {
	i := g.IntN(denySubjects)
	hash := mustSum(fmt.Sprint(i), []uint64{mh.SHA2_256, mh.SHA2_256, mh.SHA2_512, mh.BLAKE3}[i%4])
	switch i % 10 {
	case 0:
		domain := fmt.Sprintf("site-%d.example.com", i)
		return "/ipns/" + domain, "/ipns/" + domain, domain
	case 1:
		hash, _ = mh.Sum(append([]byte{8, 1, 18, 32}, hash[len(hash)-32:]...), mh.IDENTITY, -1)
		c := cid.NewCidV1(cid.Libp2pKey, hash)
		return "/ipns/" + g.spell(c), hash.B58String(), c.String()
	}
	c := cid.NewCidV1([]uint64{cid.DagProtobuf, cid.Raw}[g.IntN(2)], hash)
	path = "/ipfs/" + g.spell(c)
	if i%4 < 2 && c.Type() == cid.DagProtobuf && g.IntN(2) == 0 {
		path = "/ipfs/" + cid.NewCidV0(hash).String()
	}
	return path, hash.B58String(), c.String()
}

func (g *denyGenerator) spell(c cid.Cid) string {
	bases := []multibase.Encoding{multibase.Base32, multibase.Base36, multibase.Base16, multibase.Base58BTC, multibase.Base64url}
	s, err := c.StringOfBase(bases[g.IntN(len(bases))])
	if err != nil {
		panic(err)
	}
	return s
}

func (g *denyGenerator) path() string {
	paths := []string{"", "", "app", "app/manifests/latest", "app/manifests", "app2", "app/blobs/sha256:ab", "ein Bild/größer", "100%", "a*b", "a*b/c", "#x?y=z"}
	return paths[g.IntN(len(paths))]
}

func (g *denyGenerator) plain() string {
	if g.IntN(100) == 0 {
		return "/ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn" // an empty directory
	}
	rule, _, _ := g.subject()
	path, wildcard := g.path(), ""
	switch g.IntN(4) {
	case 0:
		path, wildcard = path[:g.IntN(len(path)+1)], "*"
	case 1:
		wildcard = "/*"
	case 2:
		wildcard = "/"
	}
	if path == "" && wildcard == "" {
		return rule
	}
	return rule + "/" + strings.ReplaceAll(url.PathEscape(path), "%2F", "/") + wildcard
}

// modern returns a rule with a multihash. A text always has the same hash function,
// since nopfs tries hash functions in any order.
func (g *denyGenerator) modern() string {
	_, text, _ := g.subject()
	if path := g.path(); path != "" {
		text += "/" + path
	}
	if text[len(text)-1]%10 == 0 {
		return "//" + mustSum(text, mh.BLAKE3).B58String()
	}
	return "//" + mustSum(text, mh.SHA2_256).B58String()
}

func (g *denyGenerator) legacy() string {
	_, _, text := g.subject()
	return "//" + strings.TrimPrefix(mustSum(text+"/"+g.path(), mh.SHA2_256).HexString(), "1220")
}

func mustSum(text string, code uint64) mh.Multihash {
	h, err := mh.Sum([]byte(text), code, -1)
	if err != nil {
		panic(err)
	}
	return h
}

// A replaced deny list takes effect while Caddy runs, and clients show the reason. A
// broken list changes nothing in a running Caddy, and keeps another from starting.
func TestDenylistTakesEffectWhileCaddyRuns(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "skopeo", "bin/crane")
	img := harness.DockerImage(t)
	store, list := t.TempDir(), filepath.Join(t.TempDir(), "list.deny")
	harness.WriteFile(t, list, "# nothing yet\n")
	replace := func(text string) {
		t.Helper()
		harness.WriteFile(t, list+".new", text)
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\ndeny %s\n}", store, list))
	ref := harness.Convert(t, img.Archive, "--store="+store, "--registry="+caddy.URL)
	img.MustBe(t, harness.PullBySkopeo(t, ref))

	replace("hints:\n  gateway_status: 451\n---\n/ipfs/" + harness.RootOf(t, ref) + "\n")
	caddy.AwaitLine(t, `"list has changed"`)
	mustBeDenied(t, ref)

	replace("nginx\n")
	caddy.AwaitLine(t, list+`: line 1: \"nginx\": not a rule`)
	mustBeDenied(t, ref)

	file := filepath.Join(t.TempDir(), "Caddyfile")
	harness.WriteFile(t, file, fmt.Sprintf("{\nadmin off\n}\nhttp://127.0.0.1:%d {\nipfs_registry {\ndeny %s\n}\n}\n", harness.FreePort(t), list))
	_, stderr, err := harness.Try(exec.Command(harness.InRepo("bin/caddy"), "run", "--adapter=caddyfile", "--config="+file))
	if err == nil || !strings.Contains(stderr, "setting up deny and allow lists: "+list+": line 1: ") {
		t.Errorf("Caddy starts with a broken list: %v\n%s", err, stderr)
	}
}

func mustBeDenied(t *testing.T, ref string) {
	t.Helper()
	for _, client := range []*exec.Cmd{
		exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref),
		exec.Command(harness.InRepo("bin/crane"), "manifest", "--insecure", ref),
	} {
		stdout, stderr, err := harness.Try(client)
		if err == nil || stdout != "" || !strings.Contains(stderr, "denied here for legal reasons") {
			t.Errorf("%s: %v\n%s%s", client, err, stdout, stderr)
		}
	}
	if resp := harness.Get(t, harness.Repository(ref)+"/manifests/latest"); resp.StatusCode != 451 || !strings.Contains(resp.Text, `"DENIED"`) {
		t.Errorf("a denied image is answered with %d %s", resp.StatusCode, resp.Text)
	}
}
