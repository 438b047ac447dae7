package cidname

import (
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"
)

// Roots that image2ipfs and ipdr published, in the three spellings of each.
var vectors = []struct{ v0, ciq, v1 string }{
	{"QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a", "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi", "bafybeiemubpxrd4g74pzywujnoix6mouqf6culv4jsbaah5foeqlirx7de"},
	{"Qmcsr3naQWG6YzeWTCa7Ee55JUqDdAwvo3j8VyAuRcrHvM", "ciqnqalrqxnqzubb2jllburc4e6wt2j7crjx2nxsdfbiw4sceq367lq", "bafybeigyafyylwym2aq5evvq2irocplj5e7riu35g3zbsqulojbcin7pvy"},
	{"QmdLmBErojQctCn9MHMV61BNA6ue2fyDZZAvFRF32cccTT", "ciqn5zu57ciucp3gw2hwxymuwz3tgjlvfdfwg3xhwx456y4xxydkhmq", "bafybeig642o7rekbh5tlnd3l4gklm5ztev2srs3dn3t3l6o7mol34bvdwi"},
	{"QmRhKG1VGPqEt3cwbehHWroqjhbC1izFCC4wudaJjRgrAk", "ciqddxseacsddleyizojmahrh2uaq7ujnplse6r6mylurgu4bfodrmi", "bafybeibr3zcabjbrvsmemxewadyt5kaip2ewxvzcpi7gmf2itkoasxbywe"},
	{"Qmc2ot2NQadXmbvPbsidyjYDvPfPwKZmovzNpfRPKxXUrL", "ciqmw4mig2uwaygddjlutoywq43udutvdmuxkcxvetsjp2mjdde27wi", "bafybeiglogednklamdbruv2jxmlion2b2j2rwklvbl2sjzex5gerrsnp3e"},
	{"QmYMg6WAuvF5i5yFmjT8KkqewZ5Ngh4U9Mp1bGfdjraFVk", "ciqjjwaeoszdgcaasxmlhjuqnhbctgwijqz64w564lrzeyjezcvbj4y", "bafybeieu3achjmrtbaajlwftu2igtqrjtleeym7olo7ofy4smesmrkqu6m"},
	{"QmSb4z96f6UGmkqtb1z3DJEyQsJzpshMMsqtuhcDbch2nS", "ciqd6icudbhpf5zgyiktrquodqkmg2tae3raq7blmybic35nxfpmzhy", "bafybeib7ebkbqtxs64tmefjyykhbyfgdnjqcnyqipqvwmaubn6w3sxwmt4"},
}

var grammar = regexp.MustCompile(`^ciq[a-p][a-z2-7]{50}[aiqy]$`)

func TestFormat(t *testing.T) {
	for _, v := range vectors {
		for _, s := range []string{v.v0, v.v1} {
			got, err := Format(cid.MustParse(s))
			if err != nil || got != v.ciq {
				t.Errorf("Format(%s) = %q, %v; want %q", s, got, err, v.ciq)
			}
		}
		if !grammar.MatchString(v.ciq) {
			t.Errorf("%q does not match %s", v.ciq, grammar)
		}
	}
}

func TestParse(t *testing.T) {
	for _, v := range vectors {
		want := cid.MustParse(v.v1)
		for _, s := range []string{v.ciq, v.v1, inBase(want, multibase.Base36), inBase(want, multibase.Base16)} {
			got, err := Parse(s)
			if err != nil || !got.Equals(want) {
				t.Errorf("Parse(%q) = %s, %v; want %s", s, got, err, want)
			}
		}
	}
}

func TestParseRaw(t *testing.T) {
	raw := cid.NewCidV1(cid.Raw, cid.MustParse(vectors[0].v0).Hash())
	got, err := Parse(raw.String())
	if err != nil || !got.Equals(raw) {
		t.Errorf("Parse(%q) = %s, %v; want %s", raw, got, err, raw)
	}
	if s, err := Format(raw); !errors.Is(err, ErrNotCID) {
		t.Errorf("Format(%s) = %q, %v; want %v", raw, s, err, ErrNotCID)
	}
}

func TestParseNamesTheRightSpelling(t *testing.T) {
	v := vectors[0]
	for _, s := range []string{
		v.v0,
		"z" + inBase(cid.MustParse(v.v1), multibase.Base58BTC)[1:],
		strings.ToUpper(v.v1),
		inBase(cid.MustParse(v.v1), multibase.Base16Upper),
		inBase(cid.MustParse(v.v1), multibase.Base32hex),
		v.ciq[:54] + "j",
		v.v1[:58] + "f",
	} {
		_, err := Parse(s)
		var spelling *SpellingError
		if !errors.As(err, &spelling) || spelling.Want != v.ciq {
			t.Errorf("Parse(%q) = %v; want an error that names %s", s, err, v.ciq)
		}
		if !errors.Is(err, ErrNotCID) {
			t.Errorf("Parse(%q) = %v, which is not %v", s, err, ErrNotCID)
		}
	}
}

func TestSpellings(t *testing.T) {
	for _, v := range vectors {
		want := cid.MustParse(v.v1)
		spellings, err := Spellings(want)
		if err != nil || len(spellings) != 5 || spellings[0].Text != v.ciq || spellings[1].Text != v.v0 {
			t.Fatalf("Spellings(%s) = %v, %v", want, spellings, err)
		}
		for _, s := range spellings {
			got, err := ParseAny(s.Text)
			if err != nil || got.Hash().B58String() != want.Hash().B58String() {
				t.Errorf("ParseAny(%q) = %s, %v; want %s", s.Text, got, err, want)
			}
		}
	}
	for _, s := range []string{"", "nginx", "bafkqaaa"} {
		if c, err := ParseAny(s); !errors.Is(err, ErrNotCID) {
			t.Errorf("ParseAny(%q) = %s, %v; want %v", s, c, err, ErrNotCID)
		}
	}
}

// Seven of the eight strings that decode to the same bytes are refused.
func TestParseAcceptsOneSpelling(t *testing.T) {
	for _, v := range vectors {
		accepted := 0
		for _, last := range "abcdefghijklmnopqrstuvwxyz234567" {
			if c, err := Parse(v.ciq[:54] + string(last)); err == nil && c.Equals(cid.MustParse(v.v1)) {
				accepted++
			}
		}
		if accepted != 1 {
			t.Errorf("%d spellings of %s are accepted, want 1", accepted, v.ciq)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	digest := cid.MustParse(vectors[0].v0).Hash()
	short, err := mh.Sum([]byte("x"), mh.SHA2_256, 20)
	if err != nil {
		t.Fatal(err)
	}
	sha512, err := mh.Sum([]byte("x"), mh.SHA2_512, -1)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "b", "ciq", "nginx", "busybox", "kibana", "fedora", "caddy", "k8s", "b2", "f01",
		hex.EncodeToString(digest),
		vectors[0].ciq[:54],
		vectors[0].ciq + "a",
		"ciq1" + vectors[0].ciq[4:],
		"ciqz" + vectors[0].ciq[4:],
		"bafkqaaa",
		"f01550000",
		cid.NewCidV1(cid.Raw, short).String(),
		cid.NewCidV1(cid.DagProtobuf, sha512).String(),
		cid.NewCidV1(cid.DagCBOR, digest).String(),
		cid.NewCidV1(cid.Libp2pKey, digest).String(),
	} {
		if c, err := Parse(s); !errors.Is(err, ErrNotCID) {
			t.Errorf("Parse(%q) = %s, %v; want %v", s, c, err, ErrNotCID)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.v0)
		f.Add(v.ciq)
		f.Add(v.v1)
		f.Add(inBase(cid.MustParse(v.v1), multibase.Base36))
		f.Add(inBase(cid.MustParse(v.v1), multibase.Base16))
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			if !errors.Is(err, ErrNotCID) {
				t.Fatalf("Parse(%q) = %v, which is not %v", s, err, ErrNotCID)
			}
			return
		}
		if !regexp.MustCompile(`^[a-z0-9]+$`).MatchString(s) {
			t.Fatalf("Parse accepts %q, which no image name can hold", s)
		}
		if got := spell(t, s, c); got != s {
			t.Fatalf("Parse accepts %q, which is spelled %q", s, got)
		}
	})
}

func spell(t *testing.T, s string, c cid.Cid) string {
	if !isFormat(s) {
		return inBase(c, multibase.Encoding(s[0]))
	}
	got, err := Format(c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func inBase(c cid.Cid, base multibase.Encoding) string {
	s, err := c.StringOfBase(base)
	if err != nil {
		panic(err)
	}
	return s
}
