package ipns

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
)

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := NewKey()
	check(t, err)
	return k
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysAreReadAsTheyWereWritten(t *testing.T) {
	k := newKey(t)
	for form, marshal := range map[string]func() ([]byte, error){"protobuf": k.Marshal, "PEM": k.MarshalPEM} {
		data, err := marshal()
		check(t, err)
		again, err := ParseKey(data)
		if err != nil || again.Name() != k.Name() || !crypto.KeyEqual(again.private, k.private) {
			t.Errorf("%s: a key of %s, %v", form, again.Name(), err)
		}
	}
	if !strings.HasPrefix(k.Name(), "k51") {
		t.Errorf("the name is %s", k.Name())
	}
}

func TestOnlyWholeEd25519KeysAreRead(t *testing.T) {
	k := newKey(t)
	whole, err := k.Marshal()
	check(t, err)
	text, err := k.MarshalPEM()
	check(t, err)
	halves := bytes.Clone(whole)
	halves[len(halves)-1] ^= 1
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	check(t, err)
	rsa, _, err := crypto.GenerateKeyPairWithReader(crypto.RSA, 2048, rand.Reader)
	check(t, err)
	rsaKey, err := crypto.MarshalPrivateKey(rsa)
	check(t, err)
	for name, it := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":             {nil, "not a private key"},
		"text":                {[]byte("secret words"), "not a private key"},
		"a part":              {whole[:len(whole)-1], "not a private key"},
		"a wrong public half": {halves, "does not belong to the public key"},
		"two PEM blocks":      {append(bytes.Clone(text), text...), "not a private key"},
		"an encrypted key":    {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der}), "encrypted"},
		"an EC key":           {pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), "ed25519"},
		"an RSA key":          {rsaKey, "ed25519"},
		"too much":            {bytes.Repeat(text, 100), "not a private key"},
	} {
		_, err := ParseKey(it.data)
		if err == nil || !strings.Contains(err.Error(), it.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, it.want)
		}
	}
}

// Any bytes are a key or an error. A key can be written and read again.
func FuzzParseKey(f *testing.F) {
	k, err := NewKey()
	check(f, err)
	for _, marshal := range []func() ([]byte, error){k.Marshal, k.MarshalPEM} {
		data, err := marshal()
		check(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ParseKey(data)
		if err != nil {
			return
		}
		again, err := k.Marshal()
		check(t, err)
		if second, err := ParseKey(again); err != nil || second.Name() != k.Name() {
			t.Errorf("%v", err)
		}
	})
}
