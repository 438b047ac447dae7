package names

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/libp2p/go-libp2p/core/crypto"
)

func TestEveryChangedBitOfARecordIsNoticed(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	data := o.publish(t, pathOf("x")+"/a", 7)
	want, err := readRecord(data, o.name)
	if err != nil || want.sequence != 7 || want.path != "a" || want.ttl != time.Minute {
		t.Fatalf("%+v, %v", want, err)
	}
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if got, err := readRecord(data, o.name); err == nil && got != want {
				t.Fatalf("with bit %d of byte %d changed: %+v", bit, i, got)
			}
			data[i] ^= 1 << bit
		}
	}
}

// fuzzOwner returns the owner of the corpus's key, and all records that it signed.
func fuzzOwner(t testing.TB) (o owner, signed map[string][]byte) {
	t.Helper()
	key, _, err := crypto.KeyPairFromStdKey(new(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))
	if err != nil {
		t.Fatal(err)
	}
	o = ownerOf(t, key)
	future, past := time.Date(2125, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	return o, map[string][]byte{
		"content":  o.sign(t, pathOf("x"), 1, future, time.Minute),
		"path":     o.sign(t, pathOf("x")+"/a/b", 2, future, time.Hour),
		"name":     o.sign(t, "/ipns/example.com/a", 3, future, 0),
		"key":      o.sign(t, "/ipns/"+o.name.String(), 4, future, 0),
		"expired":  o.sign(t, pathOf("y"), 5, past, 0),
		"v2":       o.sign(t, pathOf("y"), 6, future, 0, ipns.WithV1Compatibility(false)),
		"embedded": o.sign(t, pathOf("y"), 7, future, 0, ipns.WithPublicKey(true)),
		"metadata": o.sign(t, pathOf("y"), 8, future, 0, ipns.WithMetadata(map[string]any{"note": "x", "n": 1})),
		"useless":  o.sign(t, "/ipfs/bafkqaaa", 9, future, 0),
	}
}

// A record that is accepted was signed by the owner.
func FuzzReadRecord(f *testing.F) {
	o, signed := fuzzOwner(f)
	all := map[record]bool{}
	for name, data := range signed {
		r, err := readRecord(data, o.name)
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		all[r] = true
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := readRecord(data, o.name); err == nil && !all[r] {
			t.Errorf("%+v, which nobody signed", r)
		}
	})
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{pathOf("x"), pathOf("x") + "/a/B c/", "/ipns/example.com/a", "/ipfs/" + cidV0("x"), "/ipfs/bafkqaaa", "//", "/ipfs//a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseTarget(s)
		if err != nil {
			return
		}
		if got.root.Defined() == (got.name != Name{}) {
			t.Errorf("%q is both or none: %+v", s, got)
		}
		// A parsed target can be written and parsed again.
		again := "/ipns/" + got.name.String()
		if got.root.Defined() {
			again = "/ipfs/" + got.root.String()
		}
		if got.path != "" {
			again += "/" + got.path
		}
		if second, err := parseTarget(again); err != nil || second != got {
			t.Errorf("%q is %+v, which is %+v: %v", s, got, second, err)
		}
	})
}
