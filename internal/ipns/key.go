package ipns

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/ipfs/boxo/ipns"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A Key is a private ed25519 key, which signs the records of one name.
type Key struct {
	private crypto.PrivKey
	name    string
}

// NewKey makes a key.
func NewKey() (Key, error) {
	private, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	return keyOf(private)
}

func keyOf(private crypto.PrivKey) (Key, error) {
	name, err := nameOf(private.GetPublic())
	return Key{private, name.String()}, err
}

func nameOf(public crypto.PubKey) (ipns.Name, error) {
	id, err := peer.IDFromPublicKey(public)
	return ipns.NameFromPeer(id), err
}

// Name returns the name of the key, as CIDv1 in base36 (k51…).
func (k Key) Name() string { return k.name }

// Marshal returns the key as Kubo keeps it and exports it by default: the protobuf of
// libp2p, not encrypted.
// https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#keys
func (k Key) Marshal() ([]byte, error) { return crypto.MarshalPrivateKey(k.private) }

// pemType is the type of a PEM block with a key that is not encrypted.
const pemType = "PRIVATE KEY"

// MarshalPEM returns the key as PEM of PKCS #8, not encrypted.
func (k Key) MarshalPEM() ([]byte, error) {
	raw, err := k.private.Raw()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.PrivateKey(raw))
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// MaxKey is the most bytes of a file that ParseKey reads.
const MaxKey = 4 << 10

// errNotKey is the error for data in none of the formats. It does not quote the data, which
// may contain a key.
var errNotKey = errors.New("not a private key: give an ed25519 key, as `ipfs key export` writes it, in the format libp2p-protobuf-cleartext or pem-pkcs8-cleartext")

// ParseKey parses a key in either format. Its errors do not quote the data.
func ParseKey(data []byte) (Key, error) {
	if len(data) > MaxKey {
		return Key{}, errNotKey
	}
	private, err := parsePrivate(data)
	if err != nil {
		return Key{}, err
	}
	raw, err := private.Raw()
	if err != nil {
		return Key{}, err
	}
	// The second half is the public key. Signing with a wrong one would give away the
	// private key.
	if !bytes.Equal(raw, ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])) {
		return Key{}, errors.New("the private key does not belong to the public key beside it: the file is damaged")
	}
	return keyOf(private)
}

func parsePrivate(data []byte) (crypto.PrivKey, error) {
	if block, rest := pem.Decode(data); block != nil {
		if block.Type == "ENCRYPTED "+pemType {
			return nil, errors.New("the key is encrypted: decrypt it first, with `openssl pkey -in FILE`")
		}
		if block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errNotKey
		}
		return parsePKCS8(block.Bytes)
	}
	private, err := crypto.UnmarshalPrivateKey(data)
	if err != nil {
		return nil, errNotKey
	}
	if private.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("the key is of type %s, and the key of a root is an ed25519 key", private.Type())
	}
	return private, nil
}

func parsePKCS8(der []byte) (crypto.PrivKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errNotKey
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the key is of type %T, and the key of a root is an ed25519 key", parsed)
	}
	return crypto.UnmarshalEd25519PrivateKey(private)
}
