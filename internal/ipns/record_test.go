package ipns

import (
	"errors"
	"testing"
	"time"
)

const aPath = "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

func statement(sequence uint64) Statement {
	return Statement{Value: aPath, Sequence: sequence, Expires: time.Now().Add(time.Hour).Truncate(0), TTL: time.Minute, Literal: sequence%2 == 0}
}

func TestRecordsAreReadAsTheyWereSigned(t *testing.T) {
	k := newKey(t)
	said := statement(1 << 50)
	data, err := k.Sign(said)
	check(t, err)
	key, err := ParseName(k.Name())
	check(t, err)
	own, err := ReadOwnRecord(data)
	check(t, err)
	byName, err := ReadRecord(data, key)
	check(t, err)
	for _, r := range []Record{own, byName} {
		value, err := r.Value()
		if err != nil || (Statement{value, r.Sequence, r.Expires, r.TTL, r.Literal}) != (Statement{said.Value, said.Sequence, said.Expires.UTC(), said.TTL, said.Literal}) || FormatName(r.Key) != k.Name() {
			t.Errorf("the record of %s says %s, %+v, %v", FormatName(r.Key), value, r, err)
		}
	}
	if int64(len(data)) > 1<<10 {
		t.Errorf("a record has %d bytes", len(data))
	}
}

func TestExpiredRecordsAreRead(t *testing.T) {
	said := statement(1)
	said.Expires = time.Now().Add(-time.Hour)
	data, err := newKey(t).Sign(said)
	check(t, err)
	if r, err := ReadOwnRecord(data); err != nil || !r.Expires.Equal(said.Expires) {
		t.Errorf("it ends at %s, %v", r.Expires, err)
	}
}

func TestRecordsOfOthersAreForged(t *testing.T) {
	data, err := newKey(t).Sign(statement(1))
	check(t, err)
	other, err := ParseName(newKey(t).Name())
	check(t, err)
	if _, err := ReadRecord(data, other); !errors.Is(err, ErrForged) {
		t.Errorf("error %v", err)
	}
	for i := range data {
		data[i] ^= 1
		if r, err := ReadOwnRecord(data); err == nil && r.Sequence != 1 {
			t.Errorf("with byte %d changed, the sequence is %d", i, r.Sequence)
		}
		data[i] ^= 1
	}
}
