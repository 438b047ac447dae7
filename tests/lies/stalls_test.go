package lies

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipfspath"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// The client of gateways leaves a gateway that hangs or drips, wherever in an answer it
// does. This test does not run Caddy, which has no option for a shorter patience.
func TestStalledGatewayIsLeft(t *testing.T) {
	harness.ParallelFor(t, 30*time.Minute)
	kubo := harness.NewKubo(t)
	pictures := newPictures(t, kubo)
	named, _ := pictures[0].byKey(t, kubo, pictures[1])
	pictures = append(pictures, named)
	server := newLyingServer(t, kubo, newTrustlessKubo(t, kubo, roots(pictures)...), slow(allLies()))

	cases := stallCases(t, server, pictures)
	outcomes := make([]error, len(cases))
	inParallel(len(cases), len(cases), func(i int) { outcomes[i] = cases[i].run(t, server, strconv.Itoa(i)) })
	told := map[int]bool{}
	counts := map[string]int{}
	for i, c := range cases {
		for j := range c.liars {
			told[c.lie] = told[c.lie] || server.account(server.lies[c.lie].mode, c.lie, fmt.Sprintf("%d-%d", i, j)).lies > 0
		}
		counts[c.name]++
		if outcomes[i] != nil {
			t.Errorf("%s, %s: %s, %s: %v", server.lies[c.lie], c.name, c.im.name, c.want.name, outcomes[i])
		}
	}
	t.Logf("%d combinations: %v", len(cases), counts)
	for i, l := range server.lies {
		if !told[i] {
			t.Errorf("no gateway told this lie: %s", l)
		}
	}
}

// A stallCase is one use of the client of gateways.
type stallCase struct {
	im   *picture
	want wanted
	lie  int
	arrangement
}

// A wanted is a call of the client, and what it must return.
type wanted struct {
	name    string
	get     func(ctx context.Context, p *gateway.Pool, root cid.Cid, to *received) error
	content string
}

func session(p *gateway.Pool) trustless.Session {
	return trustless.Session{Client: trustless.NewClient(trustless.Config{Pool: p})}
}

func (im *picture) wants() []wanted {
	if im.key != "" {
		return []wanted{{"name", im.resolve, im.cid}}
	}
	blob := harness.ImageName + "/blobs/" + im.layer
	layer := im.content[im.layer]
	part := gateway.Range{First: 1_000_000, Last: 1_199_999}
	return []wanted{
		{"manifest", func(ctx context.Context, p *gateway.Pool, root cid.Cid, to *received) error {
			b, err := session(p).ReadFile(ctx, root, harness.ImageName+"/manifests/v1", 1<<20)
			to.Write(b)
			return err
		}, im.content[im.manifest]},
		{"size", func(ctx context.Context, p *gateway.Pool, root cid.Cid, to *received) error {
			n, err := session(p).Stat(ctx, ipfspath.Place{Root: root, Path: blob})
			if err == nil {
				fmt.Fprint(to, n)
			}
			return err
		}, strconv.Itoa(len(layer))},
		{"blob", func(ctx context.Context, p *gateway.Pool, root cid.Cid, to *received) error {
			return session(p).Copy(ctx, ipfspath.Place{Root: root, Path: blob}, nil, to)
		}, layer},
		{"range", func(ctx context.Context, p *gateway.Pool, root cid.Cid, to *received) error {
			return session(p).Copy(ctx, ipfspath.Place{Root: root, Path: blob}, &part, to)
		}, layer[part.First : part.Last+1]},
	}
}

// resolve resolves the image's IPNS key.
func (im *picture) resolve(ctx context.Context, p *gateway.Pool, _ cid.Cid, to *received) error {
	key, err := names.Parse(im.key)
	if err != nil {
		return err
	}
	r, err := names.New(names.Config{Keys: true, Pool: p, Failed: func(names.Name, error) {}})
	if err != nil {
		return err
	}
	found, err := r.Resolve(ctx, key)
	if err == nil {
		fmt.Fprint(to, found.Root)
	}
	return err
}

// received is a trustless.Sink.
type received struct{ bytes.Buffer }

func (*received) Start(trustless.File, int64, int64) {}

// stallCases returns one case for each lie and arrangement, with a call that requests
// something that the lie is about.
func stallCases(t *testing.T, s *lyingServer, pictures []*picture) []stallCase {
	t.Helper()
	able := map[int][]stallCase{} // by lie
	for m := range modes {
		for _, im := range pictures {
			for _, want := range im.wants() {
				name := strings.ReplaceAll(im.name+want.name, " ", "")
				honest := stallCase{im, want, s.honest(), arrangement{honest: true}}
				if err := honest.ask(t, []string{s.gateway(m, s.honest(), name)}, true); err != nil {
					t.Errorf("%s, %s, from an honest %s gateway: %v", want.name, im.name, m, err)
				}
				answers := s.account(m, s.honest(), name).honest
				for i, l := range s.lies {
					if l.mode == m && l.isAbout(im) && slices.ContainsFunc(answers, l.applies) {
						able[i] = append(able[i], stallCase{im, want, i, arrangement{}})
					}
				}
			}
		}
	}
	var cases []stallCase
	for i := range s.lies {
		for j, a := range arrangements {
			if len(able[i]) == 0 || a.honest && a.liars == 1 && !a.separate {
				continue
			}
			c := able[i][(i+j)%len(able[i])]
			c.arrangement = a
			cases = append(cases, c)
		}
	}
	return cases
}

func (c stallCase) run(t *testing.T, s *lyingServer, name string) error {
	m := s.lies[c.lie].mode
	var gateways []string
	for j := range c.liars {
		gateways = append(gateways, s.gateway(m, c.lie, fmt.Sprintf("%s-%d", name, j)))
	}
	if c.honest {
		gateways = append(gateways, s.gateway(m, s.honest(), name))
	}
	return c.ask(t, gateways, c.honest)
}

// ask calls the client with gateways, each in a group of its own. The error says what is
// wrong with the outcome. Even liars alone may give the right content, in a form about
// which they do not lie.
func (c stallCase) ask(t *testing.T, gateways []string, mustSucceed bool) error {
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	var groups []gateway.Group
	for _, g := range gateways {
		u, err := gateway.ParseUpstream(g, "http")
		if err != nil {
			return err
		}
		groups = append(groups, gateway.Group{Upstreams: []*url.URL{u}, Transport: transport})
	}
	// An honest gateway must answer within the patience on a busy machine, too.
	pool := gateway.NewPool(gateway.Config{Groups: groups, Patience: 5 * time.Second})
	var got received
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	err := c.want.get(ctx, pool, cid.MustParse(c.im.cid), &got)
	switch {
	case err == nil && got.String() != c.want.content, !strings.HasPrefix(c.want.content, got.String()):
		return fmt.Errorf("%d bytes, some of them wrong: %w", got.Len(), err)
	case err != nil && mustSucceed, ctx.Err() != nil:
		return fmt.Errorf("%d bytes of %d: %v", got.Len(), len(c.want.content), err)
	}
	return nil
}
