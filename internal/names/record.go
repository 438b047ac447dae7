package names

import (
	"fmt"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// A record is a verified record of a key. Only readRecord makes one.
type record struct {
	target
	useless  string // why the target cannot be served; empty if it can
	sequence uint64
	expires  time.Time
	ttl      time.Duration
	literal  bool // whether no tag below the target is an alias
}

// readRecord verifies and parses a record of the key. It also returns a record that has
// expired or that has a useless target, since it supersedes older records.
func readRecord(data []byte, key Name) (record, error) {
	signed, err := ipns.ReadRecord(data, key.key)
	if err != nil {
		return record{}, err
	}
	r := record{sequence: signed.Sequence, expires: signed.Expires, ttl: signed.TTL, literal: signed.Literal}
	if r.target, err = readValue(signed); err != nil {
		r.useless = fmt.Sprintf("%.300s", err)
	}
	return r, nil
}

func readValue(signed ipns.Record) (target, error) {
	value, err := signed.Value()
	if err != nil {
		return target{}, err
	}
	return parseTarget(value)
}

// newer reports whether r supersedes another record of the same key. Owners renew a
// record by signing the same sequence number with a later end.
func (r record) newer(other record) bool {
	if r.sequence != other.sequence {
		return r.sequence > other.sequence
	}
	return r.expires.After(other.expires)
}

func (r record) expired() bool { return time.Now().After(r.expires) }

const (
	// minTTL is the least time between two look-ups of a key. With a TTL of 0, each
	// request would cost the gateways a look-up.
	minTTL = 5 * time.Second

	// minConfigured is minTTL for keys that the configuration names, whose owners the
	// operator trusts.
	minConfigured = time.Second

	// maxTTL is the most time between two look-ups of a key. With a TTL of years, no
	// later record would ever be noticed.
	maxTTL = time.Hour
)

// link returns where the name leads from now on. The resolver looks the name up again after
// the record's TTL, but at the earliest after least.
func (r record) link(least time.Duration) link {
	fresh := time.Now().Add(min(max(r.ttl, least), maxTTL))
	return link{r.target, r.literal, earlier(fresh, r.expires), r.expires}
}
