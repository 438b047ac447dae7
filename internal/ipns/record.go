// Package ipns signs and verifies IPNS records, and reads and writes the keys that sign
// them. Package names uses it to resolve the names of other owners, and package store to sign
// the records of a store's own root.
// https://specs.ipfs.tech/ipns/ipns-record/
package ipns

import (
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/ipfs/go-cid"
)

// MaxRecord is the most bytes of a record.
// https://specs.ipfs.tech/ipns/ipns-record/#record-size-limit
const MaxRecord = int64(ipns.MaxRecordSize)

// ErrForged says that the owner of a key did not sign a record.
var ErrForged = errors.New("not signed by the key's owner")

// A Record is a verified record. It may have expired.
type Record struct {
	Key      cid.Cid // the name of the key that signed it
	Sequence uint64
	Expires  time.Time
	TTL      time.Duration // 0 if the record has none
	Literal  bool          // as in the Statement

	signed *ipns.Record
}

// ReadRecord parses a record and verifies that the owner of the key signed it.
func ReadRecord(data []byte, key cid.Cid) (Record, error) {
	name, err := ipns.NameFromCid(key)
	if err != nil {
		return Record{}, err
	}
	signed, err := ipns.UnmarshalRecord(data)
	if err != nil {
		return Record{}, fmt.Errorf("not an IPNS record: %w", err)
	}
	return verify(signed, name)
}

// ReadOwnRecord parses a record that has the public key in it, as Sign writes it, and
// verifies that the owner of that key signed it.
func ReadOwnRecord(data []byte) (Record, error) {
	signed, err := ipns.UnmarshalRecord(data)
	if err != nil {
		return Record{}, fmt.Errorf("not an IPNS record: %w", err)
	}
	public, err := signed.PubKey()
	if err != nil {
		return Record{}, fmt.Errorf("reading the public key: %w", err)
	}
	name, err := nameOf(public)
	if err != nil {
		return Record{}, err
	}
	return verify(signed, name)
}

func verify(signed *ipns.Record, name ipns.Name) (r Record, err error) {
	if err := ipns.ValidateWithName(signed, name); err != nil && !errors.Is(err, ipns.ErrExpiredRecord) {
		return Record{}, fmt.Errorf("not a record of %s: %w: %w", name, ErrForged, err)
	}
	r = Record{Key: name.Cid(), signed: signed}
	if r.Sequence, err = signed.Sequence(); err != nil {
		return Record{}, fmt.Errorf("reading the sequence: %w", err)
	}
	if r.Expires, err = signed.Validity(); err != nil {
		return Record{}, fmt.Errorf("reading the validity: %w", err)
	}
	if r.TTL, err = signed.TTL(); err != nil {
		r.TTL = 0 // the TTL is only a hint
	}
	if literal, err := signed.Metadata(literalKey); err == nil {
		r.Literal, _ = literal.AsBool() // false for a value of another type
	}
	return r, nil
}

// Value returns the path that the record names, such as /ipfs/<cid>.
func (r Record) Value() (string, error) {
	value, err := r.signed.Value()
	if err != nil {
		return "", fmt.Errorf("reading the value: %w", err)
	}
	return value.String(), nil
}

// A Statement is what the owner of a key says in a record.
type Statement struct {
	Value    string // a path on IPFS, such as /ipfs/<cid>
	Sequence uint64
	Expires  time.Time
	TTL      time.Duration

	// Literal says that images below the value have exactly the tags that they were given,
	// and that latest is never an alias, as in a store's own root.
	Literal bool
}

// literalKey is the name of Literal in a record. The specification reserves names with this
// prefix for applications.
const literalKey = "_literal_tags"

// Sign returns a record that contains the public key, so that the record alone shows which
// key signed it.
func (k Key) Sign(s Statement) ([]byte, error) {
	value, err := path.NewPath(s.Value)
	if err != nil {
		return nil, err
	}
	options := []ipns.Option{ipns.WithPublicKey(true)}
	if s.Literal {
		options = append(options, ipns.WithMetadata(map[string]any{literalKey: true}))
	}
	signed, err := ipns.NewRecord(k.private, value, s.Sequence, s.Expires, s.TTL, options...)
	if err != nil {
		return nil, err
	}
	return ipns.MarshalRecord(signed)
}

// FormatName returns the name of a key in base36 (k51…).
func FormatName(key cid.Cid) string {
	name, err := ipns.NameFromCid(key)
	if err != nil {
		return "" // not the name of a key
	}
	return name.String()
}

// ParseName parses the name of a key in any common spelling.
func ParseName(s string) (cid.Cid, error) {
	name, err := ipns.NameFromString(s)
	if err != nil {
		return cid.Undef, err
	}
	return name.Cid(), nil
}
