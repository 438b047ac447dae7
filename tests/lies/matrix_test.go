package lies

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// An arrangement is a configuration of gateways. The liars come first.
type arrangement struct {
	name     string
	liars    int
	honest   bool // there is an honest gateway
	separate bool // the honest gateway is in a group of its own
}

var arrangements = []arrangement{
	{"alone", 1, false, false},
	{"preferred to an honest one", 1, true, true},
	{"beside an honest one", 1, true, false},
	{"three beside an honest one", 3, true, false},
}

// A lyingCase is one operation on one image, through a registry that has answered nothing
// before.
type lyingCase struct {
	number int
	im     *picture
	op     operation
	lie    int
	arrangement
}

// Whatever a gateway lies about, no client gets a wrong byte, or a 404 for content that
// exists. If the liar is the only gateway, clients get an error. Beside an honest gateway,
// they notice nothing.
func TestNoLieBecomesAWrongAnswer(t *testing.T) {
	limit, lies := 45*time.Minute, quick(allLies())
	if *partOfLies != "" {
		limit, lies = 6*time.Hour, part(t, lies, *partOfLies)
	}
	harness.ParallelFor(t, limit)
	node := harness.NewKubo(t)
	pictures := newPictures(t, node)
	other, _ := convertPicture(t, node, pictureArchive(t, 2)).byKey(t, node, pictures[1])
	named, older := pictures[0].byKey(t, node, other)
	pictures = append(pictures, named)
	trustlessNode := newTrustlessKubo(t, node, roots(append(pictures, other))...)
	server := newLyingServer(t, node, trustlessNode, lies)
	server.learnOther(t, other)
	server.older = &answer{form: asRecord, body: []byte(older)}

	cases := lyingCases(t, server, pictures)
	t.Logf("%d combinations", len(cases))
	registry := newLyingSites(t, server, cases)
	begun := time.Now()
	var sum lyingSum
	inParallel(len(cases), 8*runtime.GOMAXPROCS(0), func(i int) {
		v, err := cases[i].op.try(registry.client, registry.host(i), registry.url+cases[i].im.path())
		sum.add(server, cases[i], v, err)
	})
	t.Logf("they took %s", time.Since(begun).Round(time.Second))
	sum.report(t, server)
	if n := server.strayed.Load(); n > 0 {
		t.Errorf("the registry followed %d redirects to another host", n)
	}
}

func roots(pictures []*picture) []string {
	var cids []string
	for _, im := range pictures {
		cids = append(cids, im.cid)
	}
	return cids
}

// lyingCases returns the cases in which a lie is about something that the operation
// requests. It finds out what an operation requests by doing it with honest gateways,
// which must give the right answer.
func lyingCases(t *testing.T, s *lyingServer, pictures []*picture) []lyingCase {
	t.Helper()
	var honest []lyingCase
	var modesOf []mode
	for _, im := range pictures {
		for _, op := range im.operations() {
			for m := range modes {
				honest = append(honest, lyingCase{number: len(honest), im: im, op: op, lie: s.honest(), arrangement: arrangements[0]})
				modesOf = append(modesOf, m)
			}
		}
	}
	registry := newSites(t, len(honest), func(i int) [][]string {
		return [][]string{{s.gateway(modesOf[i], s.honest(), fmt.Sprint("honest", i))}}
	})
	var cases []lyingCase
	for i, c := range honest {
		if v, err := c.op.try(registry.client, registry.host(i), registry.url+c.im.path()); v != right {
			t.Errorf("%s, %s, from an honest %s gateway: %v", c.op.name, c.im.name, modesOf[i], err)
			continue // its lies would show nothing
		}
		answers := s.account(modesOf[i], s.honest(), fmt.Sprint("honest", i)).honest
		for number, l := range s.lies {
			if l.mode != modesOf[i] || !l.isAbout(c.im) || !slices.ContainsFunc(answers, l.applies) {
				continue
			}
			for _, a := range arrangements {
				if !l.fair || a.honest && a.liars == 1 {
					cases = append(cases, lyingCase{im: c.im, op: c.op, lie: number, arrangement: a})
				}
			}
		}
	}
	if *partOfLies == "" {
		cases = taken(cases)
	}
	for i := range cases {
		cases[i].number = i
	}
	return cases
}

var partOfLies = flag.String("lies", "", "let TestNoLieBecomesAWrongAnswer try all combinations of some lies, `K/N` for the K-th of N parts, instead of about a fifth of the combinations of all")

// part returns the K-th of N parts of the lies.
func part(t *testing.T, lies []lie, which string) (some []lie) {
	t.Helper()
	var k, n int
	if _, err := fmt.Sscanf(which, "%d/%d", &k, &n); err != nil || k < 1 || k > n {
		t.Fatalf("-lies=%s: want K/N, with K from 1 to N", which)
	}
	for i := k - 1; i < len(lies); i += n {
		some = append(some, lies[i])
	}
	return some
}

// taken returns one case for each lie, arrangement and image. Which operation it has
// changes from one case to the next.
func taken(cases []lyingCase) []lyingCase {
	type kind struct {
		im          *picture
		lie         int
		arrangement string
	}
	all := map[kind][]lyingCase{}
	var order []kind
	for _, c := range cases {
		k := kind{c.im, c.lie, c.name}
		if all[k] == nil {
			order = append(order, k)
		}
		all[k] = append(all[k], c)
	}
	var some []lyingCase
	for i, k := range order {
		some = append(some, all[k][i%len(all[k])])
	}
	return some
}

// A manySites is a Caddy with many sites, one for each case, so that each case has its own
// gateways and nothing in memory.
type manySites struct {
	*harness.Daemon
	url    string
	client *http.Client
}

// newSites starts a Caddy whose sites have the given groups of gateways. The configuration
// is JSON, since a Caddyfile with thousands of sites loads slowly.
func newSites(t *testing.T, sites int, gateways func(site int) [][]string) *manySites {
	t.Helper()
	harness.Need(t, "bin/caddy")
	type object = map[string]any
	address := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	s := &manySites{url: "http://" + address}
	routes := make([]object, sites)
	for i := range sites {
		var groups []object
		for _, upstreams := range gateways(i) {
			transport := object{"protocol": "http", "keep_alive": object{"idle_timeout": "1s"}}
			groups = append(groups, object{"upstreams": upstreams, "transport": transport})
		}
		routes[i] = object{
			"match":  []object{{"host": []string{s.host(i)}}},
			"handle": []object{{"handler": "ipfs_registry", "gateways": groups, "names": object{"ipns": true}}},
		}
	}
	server := object{"listen": []string{address}, "routes": routes, "automatic_https": object{"disable": true}}
	config, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"storage": object{"module": "file_system", "root": t.TempDir()},
		"apps":    object{"http": object{"servers": object{"sites": server}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "caddy.json")
	harness.WriteFile(t, file, string(config))
	s.Daemon = harness.StartDaemon(t, "caddy", exec.Command(harness.InRepo("bin/caddy"), "run", "--config="+file))
	s.AwaitLine(t, "serving initial configuration")
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}, Timeout: harness.Patience}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *manySites) host(site int) string { return fmt.Sprintf("site%d.test", site) }

// newLyingSites starts a Caddy with a site for each case.
func newLyingSites(t *testing.T, s *lyingServer, cases []lyingCase) *manySites {
	return newSites(t, len(cases), func(i int) [][]string {
		c := cases[i]
		var liars []string
		for j := range c.liars {
			liars = append(liars, s.gateway(s.lies[c.lie].mode, c.lie, c.liar(j)))
		}
		honest := s.gateway(s.lies[c.lie].mode, s.honest(), fmt.Sprint(i))
		switch {
		case !c.honest:
			return [][]string{liars}
		case c.separate:
			return [][]string{liars, {honest}}
		}
		return [][]string{append(liars, honest)}
	})
}

// liar returns the name of one of a case's lying gateways.
func (c lyingCase) liar(j int) string { return fmt.Sprintf("%d-%d", c.number, j) }

func (c lyingCase) describe(s *lyingServer) string {
	return fmt.Sprintf("%s, %s: %s, %s", s.lies[c.lie], c.name, c.im.name, c.op.name)
}

// A lyingSum counts the outcomes of cases.
type lyingSum struct {
	mu       sync.Mutex
	cases    int
	lies     int
	verdicts map[string]*[3]int // by arrangement
	told     map[int]bool       // lies that were told to a registry without an honest gateway
	failures []string
}

// add counts the outcome of a case, and notes it as a failure if it is one.
func (sum *lyingSum) add(s *lyingServer, c lyingCase, v verdict, err error) {
	m := s.lies[c.lie].mode
	var lies int
	unproved := !c.honest && !s.lies[c.lie].proof
	for j := range c.liars {
		a := s.account(m, c.lie, c.liar(j))
		lies += a.lies
		if slices.ContainsFunc(a.honest, (*answer).proves) {
			unproved = false
		}
	}
	sum.mu.Lock()
	defer sum.mu.Unlock()
	if sum.verdicts == nil {
		sum.verdicts, sum.told = map[string]*[3]int{}, map[int]bool{}
	}
	if lies > 0 && (!c.honest || s.lies[c.lie].fair) {
		sum.told[c.lie] = true
	}
	baseless := v == right && c.op.status == http.StatusNotFound && unproved
	if baseless {
		v, err = wrong, fmt.Errorf("404, although no answer proves that")
	}
	sum.cases++
	sum.lies += lies
	if sum.verdicts[c.name] == nil {
		sum.verdicts[c.name] = new([3]int)
	}
	sum.verdicts[c.name][v]++
	if v == wrong || v == refused && c.honest {
		sum.failures = append(sum.failures, fmt.Sprintf("%s: %v", c.describe(s), err))
	}
}

// shown is how many failures a report prints.
const shown = 40

func (sum *lyingSum) report(t *testing.T, s *lyingServer) {
	t.Helper()
	t.Logf("%d combinations, %d lies told", sum.cases, sum.lies)
	wrongs := 0
	for _, name := range slices.Sorted(maps.Keys(sum.verdicts)) {
		v := sum.verdicts[name]
		wrongs += v[wrong]
		t.Logf("%s: %d right answers, %d refused, %d wrong", name, v[right], v[refused], v[wrong])
	}
	if sum.cases == 0 || sum.lies == 0 || wrongs > 0 {
		t.Errorf("%d wrong answers in %d cases with %d lies", wrongs, sum.cases, sum.lies)
	}
	for i, l := range s.lies {
		if !sum.told[i] {
			t.Errorf("no gateway told this lie: %s", l)
		}
	}
	slices.Sort(sum.failures)
	for _, f := range sum.failures[:min(shown, len(sum.failures))] {
		t.Error(f)
	}
	if more := len(sum.failures) - shown; more > 0 {
		t.Errorf("and %d more", more)
	}
}

// inParallel calls f for all numbers in [0, n), atOnce of them at a time.
func inParallel(n, atOnce int, f func(int)) {
	var group sync.WaitGroup
	limit := make(chan struct{}, atOnce)
	for i := range n {
		limit <- struct{}{}
		group.Go(func() {
			defer func() { <-limit }()
			f(i)
		})
	}
	group.Wait()
}
