package names

import (
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/boxo/ipns"
)

// maxRecord is the most bytes of a record.
// https://specs.ipfs.tech/ipns/ipns-record/#record-size-limit
const maxRecord = int64(ipns.MaxRecordSize)

// ErrForged says that a record is not what the owner of its key signed.
var ErrForged = errors.New("not signed by the key's owner")

// A record is what the owner of a key signed. It is made by readRecord only.
type record struct {
	target
	useless  string // why nothing is served from the target, empty if something may be
	sequence uint64
	expires  time.Time
	ttl      time.Duration
}

// readRecord verifies a record of the key and reads it. One that has expired or
// points to nothing that we serve is still the owner's word, so it is returned as
// well: nothing older counts.
func readRecord(data []byte, key Name) (record, error) {
	name, err := key.ipnsName()
	if err != nil {
		return record{}, err
	}
	signed, err := ipns.UnmarshalRecord(data)
	if err != nil {
		return record{}, fmt.Errorf("not an IPNS record: %w", err)
	}
	if err := ipns.ValidateWithName(signed, name); err != nil && !errors.Is(err, ipns.ErrExpiredRecord) {
		return record{}, fmt.Errorf("not a record of %s: %w: %w", key, ErrForged, err)
	}
	return readSigned(signed)
}

func readSigned(signed *ipns.Record) (r record, err error) {
	if r.sequence, err = signed.Sequence(); err != nil {
		return record{}, fmt.Errorf("reading the sequence: %w", err)
	}
	if r.expires, err = signed.Validity(); err != nil {
		return record{}, fmt.Errorf("reading the validity: %w", err)
	}
	if r.ttl, err = signed.TTL(); err != nil {
		r.ttl = 0 // nothing but a hint
	}
	if r.target, err = readValue(signed); err != nil {
		r.useless = fmt.Sprintf("%.300s", err)
	}
	return r, nil
}

func readValue(signed *ipns.Record) (target, error) {
	value, err := signed.Value()
	if err != nil {
		return target{}, fmt.Errorf("reading the value: %w", err)
	}
	return parseTarget(value.String())
}

// newer reports whether r takes the place of another record of the same key. A
// key's owner signs the same again with a later end.
func (r record) newer(other record) bool {
	if r.sequence != other.sequence {
		return r.sequence > other.sequence
	}
	return r.expires.After(other.expires)
}

func (r record) expired() bool { return time.Now().After(r.expires) }

const (
	// minTTL is how long a record is believed at least. Owners may say 0, and
	// then every request would cost all gateways a look-up.
	minTTL = 5 * time.Second

	// maxTTL is how long it is believed at most. Owners may say years, and then
	// nothing that they publish later would be seen here.
	maxTTL = time.Hour
)

// link is what is known from now on: until the record has to be looked for again,
// and until it may be used where that fails.
func (r record) link() link {
	fresh := time.Now().Add(min(max(r.ttl, minTTL), maxTTL))
	return link{r.target, earlier(fresh, r.expires), r.expires}
}
