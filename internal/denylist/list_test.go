package denylist

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"
)

// The example of the specification, with its explanation of each rule.
const example = `version: 1
name: Example IPFSCorp blocking list
description: A collection of bad things we have found in the universe
author: abuse-ipfscorp@example.com
hints:
  hint: value
  hint2: value2
---
# Blocking by CID is codec-agnostic (blocks by multihash).
/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq

# Blocking by subpath (equivalent rules)
/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2/test*
/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC/test/*

# Block some subpaths with exceptions: last-matching-rule wins (!)
/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked*
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blockednot
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/not
!/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK/blocked/exceptions*

/ipns/domain.example
/ipns/domain2.example/path
/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf

//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM
//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX
//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7
//c555c4de78827ba42527dd3dc5398db38d6c0a8c345a88e0158b2d100f317e50
//3f8b9febd851873b3774b937cce126910699ceac56e72e64b866f8e258d09572
`

func TestExampleOfTheSpecification(t *testing.T) {
	l := parse(t, example)
	if l.Len() != 15 {
		t.Errorf("%d rules", l.Len())
	}
	const (
		rule1   = "/ipfs/bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq"
		rule3   = "/ipfs/Qmah2YDTfrox4watLCr3YgKyBwvjq8FJZEFdWY6WtJ3Xt2"
		rule4   = "/ipfs/QmTuvSQbEDR3sarFAN9kAeXBpiBCyYYNxdxciazBba11eC"
		rule5   = "/ipfs/QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK"
		legacy  = "/ipfs/bafybeiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e"
		blake3  = "/ipfs/bafyb4ieqht3b2rssdmc7sjv2cy2gfdilxkfh7623nvndziyqnawkmo266a"
		inHex   = "/ipfs/f01701e20903cf61d46521b05f926ba1634628d0bba8a7ffb5b6d5a3ca310682ca63b5ef0"
		asBytes = "/ipfs/bafkreiefwqslmf6zyyrxodaxx4vwqircuxpza5ri45ws3y5a62ypxti42e"
	)
	for path, denied := range map[string]bool{
		rule1: true,
		"/ipfs/bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq": true,
		"/ipfs/QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo":              true,
		rule1 + "/sub": false,

		rule3 + "/test":     true,
		rule3 + "/test2":    true,
		rule3 + "/test/one": true,
		rule3 + "/tes":      false,
		rule3 + "/one/test": false,
		rule3:               false,
		rule4 + "/test":     true,
		rule4 + "/test2":    true,
		rule4 + "/test/one": true,
		rule4 + "/tes":      false,
		rule4:               false,

		rule5 + "/blocked":                 true,
		rule5 + "/blocked2":                true,
		rule5 + "/blockednot":              false,
		rule5 + "/blocked/not":             false,
		rule5 + "/blocked/exceptions":      false,
		rule5 + "/blocked/exceptions2":     false,
		rule5 + "/blocked/exceptions/one":  false,
		rule5 + "/blocked/not/but/further": true,

		"/ipns/domain.example":       true,
		"/ipns/Domain.Example.":      true,
		"/ipns/domain.example/path":  false,
		"/ipns/domain2.example/path": true,
		"/ipns/domain2.example":      false,
		"/ipns/bad-domain-name.tld":  true,
		"/ipns/k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf":      true,
		"/ipns/bafzaajaiaejcaotjfs57kieazxny5japcmy5p2pgv2cic77tu6ogghttvurnrufx":   true,
		"/ipns/12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA":                true,
		"/ipns/12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA/path":           false,
		"/ipns/k51qzi5uqu5dixwsch9wpd9rolqby1m0uqj5hhxwtxal0dwltastfmh01dlniq":      false,
		"/ipfs/bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja":         true,
		"/ipfs/QmVTF1yEejXd9iMgoRTFDxBv7HAz9kuZcQNBzHrceuK9HR":                      true,
		"/ipfs/bafybeidjwik6im54nrpfg7osdvmx7zojl5oaxqel5cmsz46iuelwf5acja/further": false,

		blake3 + "/path":  true,
		inHex + "/path":   true,
		blake3:            false,
		inHex + "/path2":  false,
		legacy:            true,
		asBytes:           false, // says "blocks only this CID"
		legacy + "/path":  true,
		legacy + "/path2": false,
	} {
		if v := match(t, l, path); (v.Line > 0 && !v.Allow) != denied {
			t.Errorf("%s: %+v, want denied %v", path, v, denied)
		}
	}
}

const (
	aCID     = "QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a"
	another  = "Qmcsr3naQWG6YzeWTCa7Ee55JUqDdAwvo3j8VyAuRcrHvM"
	inAName  = "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi" // aCID
	emptyDir = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
)

func TestLastMatchingRuleDecides(t *testing.T) {
	blake3, err := mh.Sum([]byte("x"), mh.BLAKE3, 32)
	if err != nil {
		t.Fatal(err)
	}
	sha := sum(aCID + "/app")
	for _, test := range []struct {
		list, path string
		want       Verdict
	}{
		{"/ipfs/" + aCID, aCID, Verdict{Line: 1, Status: 410}},
		{"\n# a comment\n  # another\n\t\r\n/ipfs/" + aCID + "\r\n", aCID, Verdict{Line: 5, Status: 410}},
		{"/ipfs/" + inAName, aCID, Verdict{Line: 1, Status: 410}},
		{"/ipld/" + aCID, aCID, Verdict{Line: 1, Status: 410}},
		{"/ipfs/" + blake3.B58String(), cid.NewCidV1(cid.Raw, blake3).String(), Verdict{Line: 1, Status: 410}},
		{"/ipfs/" + emptyDir + "\n/ipfs/bafkqaaa", emptyDir, Verdict{}},

		{"/ipfs/" + aCID + "/a%20b%2Fc", aCID + "/a b/c", Verdict{Line: 1, Status: 410}},
		{"/ipfs/" + aCID + "/a+b", aCID + "/a+b", Verdict{Line: 1, Status: 410}},
		{"/ipfs/" + aCID + "/a+b", aCID + "/a b", Verdict{}},
		{"/ipfs/" + aCID + "/%2A", aCID + "/*", Verdict{Line: 1, Status: 410}},
		{"/ipfs/" + aCID + "/%2A", aCID + "/a", Verdict{}},
		{"/ipfs/" + aCID + "/a/", aCID + "/a", Verdict{Line: 1, Status: 410}},
		{"/ipfs/" + aCID + "/*", aCID, Verdict{Line: 1, Status: 410}},

		// The last rule decides, of whatever kind.
		{"/ipfs/" + aCID + "\n!/ipfs/" + aCID, aCID, Verdict{Line: 2, Allow: true, Status: 410}},
		{"!/ipfs/" + aCID + "\n/ipfs/" + aCID, aCID, Verdict{Line: 2, Status: 410}},
		{"+/ipfs/" + aCID + "/*\n//" + sha.B58String(), aCID + "/app", Verdict{Line: 2, Status: 410}},
		{"//" + sha.B58String() + "\n-/ipfs/" + aCID + "/*", aCID + "/app", Verdict{Line: 2, Allow: true, Status: 410}},
		{"//" + sha.B58String() + "\n!//" + sha.B58String(), aCID + "/app", Verdict{Line: 2, Allow: true, Status: 410}},
		{"//" + strings.TrimPrefix(sha.HexString(), "1220"), aCID + "/app", Verdict{Line: 1, Status: 410}},

		// Hints.
		{"/ipfs/" + aCID + " gateway_status=451", aCID, Verdict{Line: 1, Status: 451}},
		{"/ipfs/" + aCID + "\treason:copyright gateway_status:451 x", aCID, Verdict{Line: 1, Status: 451}},
		{"/ipfs/" + aCID + " gateway_status=200", aCID, Verdict{Line: 1, Status: 410}},
		{"hints:\n  gateway_status: 451\n---\n/ipfs/" + aCID, aCID, Verdict{Line: 4, Status: 451}},
		{"hints: {gateway_status: 451}\n--- \r\n/ipfs/" + aCID + " gateway_status=410", aCID, Verdict{Line: 3, Status: 410}},
		{"hints: {gateway_status: 451}\n---", aCID, Verdict{}},
		{"---\n/ipfs/" + aCID, aCID, Verdict{Line: 2, Status: 410}},
	} {
		if got := match(t, parse(t, test.list), "/ipfs/"+test.path); got != test.want {
			t.Errorf("%q: %s: %+v, want %+v", test.list, test.path, got, test.want)
		}
	}
}

func TestMalformedLineRefusesTheList(t *testing.T) {
	long := "/ipfs/" + aCID + "/" + strings.Repeat("a", maxLine)
	manyFunctions := ""
	for length := 4; length < 4+maxFunctions+1; length++ {
		h, err := mh.Sum(nil, mh.SHA2_512, length)
		if err != nil {
			t.Fatal(err)
		}
		manyFunctions += "//" + h.B58String() + "\n"
	}
	identity, err := mh.Sum([]byte("its own"), mh.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := mh.Encode(make([]byte, 32), 0x7777)
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]string{
		"/ipfs/" + aCID + "\nnginx":              `line 2: "nginx": not a rule`,
		"!":                                      `line 1: "": not a rule`,
		"/":                                      `line 1: "/": not a rule`,
		"/ipfs":                                  `not a rule`,
		"/ipfs/":                                 `not a rule`,
		"/ipfs//a":                               `not a rule`,
		"/my/path*":                              `not a rule`,
		"ipfs/" + aCID:                           `not a rule`,
		"/ipfs/nginx":                            `line 1: "/ipfs/nginx": "nginx" is not a CID`,
		"/ipfs/" + aCID + "*":                    `is not a CID`,
		"/ipfs/" + aCID + "/%zz":                 `invalid URL escape "%zz"`,
		"//":                                     `a double hash is`,
		"//" + strings.Repeat("0", 63):           `a double hash is`,
		"//" + strings.Repeat("0", 66):           `a double hash is`,
		"//" + identity.B58String():              `the double hash has the identity function, which hashes nothing`,
		"//" + mh.Multihash(unknown).B58String(): `the hash function 0x7777 with 32 bytes is not known`,
		manyFunctions:                            fmt.Sprintf("line %d: ", maxFunctions+1),
		"\n" + long:                              `line 2: longer than 2097152 bytes`,
		"version: 2\n---\n":                      `the header, before ---: version 2 is not known`,
		"version: 1\nversion: 1\n---\n":          `the header, before ---: "version" occurs twice`,
		"/ipfs/" + aCID + "\n---\n":              `the header, before ---: "/ipfs/` + aCID + `" is not of the form`,
		"version: 1\n/ipfs/" + aCID:              `line 1: "version:": not a rule`,
		strings.Repeat("#", maxHeader) + "\nx: y\n---\n": `line 2: "x:": not a rule`,
		"/ipfs/" + strings.Repeat("x\x1b", 1000):         `…`,
	} {
		l, err := Parse("", strings.NewReader(list))
		if err == nil || l != nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%.80q: %v, want %q", list, err, want)
		}
	}
}

func TestBase58IsParsedAsByTheLibrary(t *testing.T) {
	for i := range 1000 {
		h := numbered(i).Hash()
		if k, ok := parseQm(h.B58String()); !ok || k != keyOf(h) {
			t.Fatalf("%s is read as %x, %v", h.B58String(), k, ok)
		}
	}
	for _, s := range []string{"", aCID[1:], aCID + "1", "Q" + aCID, aCID[:45] + "0", aCID[:45] + "é"[:1], strings.Repeat("z", 46), strings.Repeat("1", 46)} {
		if k, ok := parseQm(s); ok {
			t.Errorf("%q is read as %x", s, k)
		}
	}
}

func parse(t testing.TB, list string) *List {
	t.Helper()
	l, err := Parse("list", strings.NewReader(list))
	if err != nil {
		t.Fatalf("%q: %v", list, err)
	}
	return l
}

// match returns the verdict on /ipfs/<cid>/<path> or /ipns/<name>/<path>.
func match(t testing.TB, l *List, of string) Verdict {
	t.Helper()
	if name, ok := strings.CutPrefix(of, "/ipns/"); ok {
		name, path, _ := strings.Cut(name, "/")
		return l.MatchName(name, path)
	}
	s, path, _ := strings.Cut(strings.TrimPrefix(of, "/ipfs/"), "/")
	return l.Match(cid.MustParse(s), path)
}

// sum returns a double hash.
func sum(text string) mh.Multihash {
	h, err := mh.Sum([]byte(text), mh.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return h
}

func spellings(t testing.TB, c cid.Cid) []cid.Cid {
	t.Helper()
	all := []cid.Cid{c, cid.NewCidV0(c.Hash()), cid.NewCidV1(cid.Raw, c.Hash())}
	for _, base := range []multibase.Encoding{multibase.Base32, multibase.Base36, multibase.Base16, multibase.Base58BTC} {
		s, err := cid.NewCidV1(cid.DagProtobuf, c.Hash()).StringOfBase(base)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cid.MustParse(s))
	}
	return all
}

// The time for a header of many keys grew with the square of their number.
func TestHeaderIsReadInOnePass(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nhints:\n  gateway_status: '451' # as the law wants\n")
	for i := 0; b.Len() < maxHeader-1000; i++ {
		fmt.Fprintf(&b, "k%d: {a: b}\n", i)
	}
	header := b.String()
	l, err := Parse("list.deny", strings.NewReader(header+"---\n/ipfs/"+aCID+"\n"))
	if err != nil || l.Len() != 1 {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(1, func() {
		if hints, err := parseHeader([]byte(header)); err != nil || hints["gateway_status"] != "451" {
			t.Errorf("%v, %v", hints, err)
		}
	})
	if lines := float64(strings.Count(header, "\n")); allocs > 4*lines {
		t.Errorf("%.0f allocations for %.0f lines", allocs, lines)
	}
	for _, bad := range []string{"version: 2\n", "nonsense\n", "a:b\n"} {
		if _, err := parseHeader([]byte(bad)); err == nil {
			t.Errorf("%q is a header", bad)
		}
	}
}
