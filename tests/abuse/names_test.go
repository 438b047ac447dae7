package abuse

import (
	"crypto/ed25519"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	mh "github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A key is an IPNS key and its owner's secret.
type key struct {
	secret ed25519.PrivateKey
	name   string
}

// newKey returns the key with a number. https://specs.ipfs.tech/ipns/ipns-record/#ipns-keys
func newKey(t *testing.T, n int) key {
	t.Helper()
	secret := ed25519.NewKeyFromSeed(noise(n, ed25519.SeedSize))
	public := append([]byte{0x08, 0x01, 0x12, ed25519.PublicKeySize}, secret.Public().(ed25519.PublicKey)...)
	name, err := sum(cid.Libp2pKey, mh.IDENTITY, public).StringOfBase(multibase.Base36)
	if err != nil {
		t.Fatal(err)
	}
	return key{secret, name}
}

// record signs a record, which is valid for an hour and fresh for as little as may be.
// https://specs.ipfs.tech/ipns/ipns-record/#ipns-record
func (k key) record(root link, sequence byte) []byte {
	value := "/ipfs/" + root.cid.String()
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano)
	data := slices.Concat( // CBOR
		[]byte("\xa5\x63TTL\x00\x65Value\x58"), []byte{byte(len(value))}, []byte(value),
		[]byte("\x68Sequence"), []byte{sequence},
		[]byte("\x68Validity\x58"), []byte{byte(len(until))}, []byte(until),
		[]byte("\x6cValidityType\x00"),
	)
	signature := ed25519.Sign(k.secret, append([]byte("ipns-signature:"), data...))
	record := protowire.AppendBytes(protowire.AppendTag(nil, 8, protowire.BytesType), signature)
	return protowire.AppendBytes(protowire.AppendTag(record, 9, protowire.BytesType), data)
}

// Clients that ask for thousands of names do not make the registry forget which record of a
// name was the newest, so that a gateway can lead the name back to an older image. It is
// finding 22.
func TestFloodOfNamesLeadsNoNameBack(t *testing.T) {
	harness.Parallel(t)
	const flood = 4200 // more than are remembered
	d := dag{}
	imageWith := func(tag string) link { return d.image([]link{d.small(manifestOf()).named(tag)}, nil) }
	before, now := imageWith("before"), imageWith("now")
	victim := newKey(t, flood)
	records := map[string][]byte{}
	var strangers []string
	for i := range flood {
		k := newKey(t, i)
		records[k.name] = k.record(before, 1)
		strangers = append(strangers, k.name)
	}
	newest, replayed := victim.record(now, 2), victim.record(before, 1)

	for _, options := range []string{"", "root " + victim.name} {
		var isReplayed, wasAsked atomic.Bool
		g := newGateway(t, d)
		g.record = func(name string) []byte {
			switch {
			case name != victim.name:
				return records[name]
			case isReplayed.Load():
				wasAsked.Store(true)
				return replayed
			}
			return newest
		}
		site := newSite(t, false, "names {\n ipns\n}\n"+options, g.URL)
		pull := func(name, tag string) int {
			resp, err := http.Get(site.URL + "/v2/ipns/" + name + "/manifests/" + tag)
			if err != nil {
				t.Error(err)
				return 0
			}
			drain(resp.Body)
			resp.Body.Close()
			return resp.StatusCode
		}
		for range 2 { // so that the name is in use
			if status := pull(victim.name, "now"); status != http.StatusOK {
				t.Fatalf("before the flood: %d\n%s", status, site.Log)
			}
		}
		var clients sync.WaitGroup
		for i := range 16 {
			clients.Go(func() {
				for at := i; at < flood; at += 16 {
					for range 2 {
						pull(strangers[at], "before")
					}
				}
			})
		}
		clients.Wait()
		isReplayed.Store(true)
		site.Await(t, "another look-up of the name", func() bool {
			pull(victim.name, "now")
			return wasAsked.Load()
		})
		for tag, want := range map[string]int{"now": http.StatusOK, "before": http.StatusNotFound} {
			if status := pull(victim.name, tag); status != want {
				t.Errorf("with %q, after %d other names and a replayed record: %d for the tag %s; want %d", options, flood, status, tag, want)
			}
		}
	}
}
