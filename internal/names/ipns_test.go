package names

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

// Two gateways are asked, and what is newest is believed.
func TestNewestWins(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		older, newer := gives(o.publish(t, pathOf("older"), 1)), gives(o.publish(t, pathOf("newer"), 2))
		for _, gateways := range [][]fake{{older, newer}, {newer, older}, {newer, newer}, {status(500), newer, older}, {status(404), newer}} {
			w := newWorld(t, Config{Keys: true}, gateways...)
			w.must(o.name, "newer")
			w.must(o.name, "newer")
			w.askedAre() // again, since it is known
		}

		// What has been seen once is not taken back by all gateways together.
		w := newWorld(t, Config{Keys: true}, newer)
		w.must(o.name, "newer")
		w.set(older)
		clocktest.Advance(time.Minute)
		w.must(o.name, "newer")
		w.askedAre("a")
		if w.strikes > 0 {
			t.Error("a gateway that does not know the newest yet was held to be bad")
		}
	})
}

// A key's owner who moves nothing signs the same with a later end.
func TestSameSequence(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.sign(t, pathOf("x"), 1, time.Now().Add(time.Hour), time.Minute)))
		w.must(o.name, "x")
		w.set(gives(o.sign(t, pathOf("x"), 1, time.Now().Add(3*time.Hour), time.Minute)))
		clocktest.Advance(59 * time.Minute)
		w.must(o.name, "x")
		w.set(status(500))
		clocktest.Advance(2 * time.Hour)
		w.must(o.name, "x")
	})
}

// Where there is a store, that goes over restarts too.
func TestRestart(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	dir := filepath.Join(t.TempDir(), "names")
	start := func(t *testing.T, gateways ...fake) *world {
		return newWorld(t, Config{Keys: true, Dir: dir}, gateways...)
	}
	synctest.Test(t, func(t *testing.T) {
		record := o.publish(t, pathOf("newer"), 2)
		start(t, gives(record)).must(o.name, "newer")
		if kept, err := os.ReadFile(filepath.Join(dir, o.name.String())); err != nil || !bytes.Equal(kept, record) {
			t.Errorf("kept %d bytes, %v", len(kept), err)
		}
		start(t, gives(o.publish(t, pathOf("older"), 1))).must(o.name, "newer")
		start(t, status(500)).must(o.name, "newer")
		start(t, gives(o.publish(t, pathOf("newest"), 3))).must(o.name, "newest")
		start(t).must(o.name, "newest")

		// What is on disk is not believed either.
		if err := os.WriteFile(filepath.Join(dir, o.name.String()), newOwner(t, crypto.Ed25519).publish(t, pathOf("false"), 9), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, gives(o.publish(t, pathOf("older"), 1))).must(o.name, "older")
	})
}

// A disk that cannot be written to is said once, and no reason not to answer.
func TestNoDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOwner(t, crypto.Ed25519)
	w := newWorld(t, Config{Keys: true, Dir: filepath.Join(file, "names")}, gives(o.publish(t, pathOf("x"), 1)))
	w.must(o.name, "x")
	if len(w.failures) != 1 || !strings.Contains(w.failures[0].Error(), "keeping its record") {
		t.Errorf("failures %v", w.failures)
	}
	other := newOwner(t, crypto.Ed25519)
	w.set(gives(other.publish(t, pathOf("y"), 1)))
	w.must(other.name, "y")
	if len(w.failures) > 0 {
		t.Errorf("failures %v", w.failures)
	}
}

// Of the records on disk, the oldest go.
func TestDiskIsBounded(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	for i := range maxNames {
		name := filepath.Join(d.dir, tempPrefix+string(rune('a'+i%26))+strings.Repeat("x", i/26))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Time{}, time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	o := newOwner(t, crypto.Ed25519)
	data := o.publish(t, pathOf("x"), 1)
	r, err := readRecord(data, o.name)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.save(o.name, r, data); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil || len(entries) != maxNames*3/4+1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if used(e).Unix() < maxNames/4 {
			t.Fatalf("%s was kept, of %s", e.Name(), used(e))
		}
	}
}

// Who keeps records in one directory never puts an older one in a newer one's
// place, and learns of the newer one.
func TestSharedDisk(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	c := Config{Keys: true, Dir: filepath.Join(t.TempDir(), "names")}
	synctest.Test(t, func(t *testing.T) {
		first := newWorld(t, c, gives(o.publish(t, pathOf("old"), 1)))
		first.must(o.name, "old")
		newest := o.publish(t, pathOf("newest"), 3)
		newWorld(t, c, gives(newest)).must(o.name, "newest")
		first.set(gives(o.publish(t, pathOf("newer"), 2)))
		clocktest.Advance(time.Minute)
		first.must(o.name, "newest")
		if kept, err := os.ReadFile(filepath.Join(c.Dir, o.name.String())); err != nil || !bytes.Equal(kept, newest) {
			t.Errorf("the newest is not kept any more: %v", err)
		}
	})
}

// That goes for those who write at the same time.
func TestReplace(t *testing.T) {
	o, dir, last := newOwner(t, crypto.Ed25519), t.TempDir(), uint64(99)
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for sequence := range last + 1 {
		data := o.publish(t, pathOf("x"), sequence)
		r, err := readRecord(data, o.name)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprint(tempPrefix, sequence))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			<-begin
			if err := (&disk{dir: dir}).replace(o.name, r, func(path string) error { return os.Rename(file, path) }); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if kept, err := (&disk{dir: dir}).load(o.name); err != nil || kept.sequence != last {
		t.Errorf("record %d is kept, %v", kept.sequence, err)
	}
}

// A key in use is not among the oldest, however long ago its record was written.
func TestUseIsKnownOnDisk(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	c := Config{Keys: true, Dir: filepath.Join(t.TempDir(), "names")}
	file, record := filepath.Join(c.Dir, o.name.String()), gives(o.publish(t, pathOf("x"), 1))
	newWorld(t, c, record).must(o.name, "x")
	for age, touched := range map[time.Duration]bool{touchInterval / 2: false, 24 * time.Hour: true} {
		before := time.Now().Add(-age).Truncate(time.Second)
		if err := os.Chtimes(file, before, before); err != nil {
			t.Fatal(err)
		}
		newWorld(t, c, record).must(o.name, "x")
		if info, err := os.Stat(file); err != nil || info.ModTime().After(before) != touched {
			t.Errorf("after %s: %v, %v", age, info.ModTime(), err)
		}
	}
	if err := os.Remove(file); err != nil { // as who makes room does
		t.Fatal(err)
	}
	newWorld(t, c, record).must(o.name, "x")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// What a key's owner has it point to may be nothing to us, and is their last word
// all the same.
func TestWithdrawn(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	cbor, _ := content("x")
	for name, value := range map[string]string{
		"not on IPFS": "/ipld/" + pathOf("x")[len("/ipfs/"):],
		"an identity": "/ipfs/bafkqaaa",
		"not a file":  "/ipfs/" + cid.NewCidV1(cid.DagCBOR, cbor.Hash()).String(),
		"no name":     "/ipns/localhost",
		"too long":    pathOf("x") + "/" + strings.Repeat("x", 2000),
		"not a path":  "/ipfs/../x",
		"unheard of":  "/x",
		"control":     pathOf("x") + "/\n",
		"no CID":      "/ipfs",
	} {
		synctest.Test(t, func(t *testing.T) {
			c := Config{Keys: true, Dir: filepath.Join(t.TempDir(), "names")}
			older, withdrawn := gives(o.publish(t, pathOf("older"), 1)), gives(o.publishValue(t, value, 2))
			w := newWorld(t, c, older, older)
			withdrawnHere := func() {
				t.Helper()
				if err := w.mustNot(o.name); !errors.Is(err, errUseless) || !errors.Is(err, fs.ErrNotExist) || isGateways(err) {
					t.Errorf("%s: %v", name, err)
				}
			}
			w.must(o.name, "older")
			clocktest.Advance(time.Minute)
			w.set(withdrawn)
			withdrawnHere()
			if w.strikes != 0 {
				t.Errorf("%s: an honest gateway was held to be bad: %v", name, w.failures)
			}
			w.set(status(500))
			withdrawnHere() // whoever else still has the older one
			w = newWorld(t, c, older, older)
			withdrawnHere() // over a restart too
			w.set(gives(o.publish(t, pathOf("newest"), 3)))
			w.must(o.name, "newest")
		})
	}
}

// A false record costs a second request, and the gateway its place.
func TestLies(t *testing.T) {
	o, other := newOwner(t, crypto.Ed25519), newOwner(t, crypto.Ed25519)
	honest := o.publish(t, pathOf("right"), 1)
	tampered := slices.Clone(honest)
	tampered[len(tampered)/2] ^= 1
	for name, lie := range map[string]fake{
		"tampered":      gives(tampered),
		"another key's": gives(other.publish(t, pathOf("wrong"), 9)),
		"truncated":     gives(honest[:len(honest)-1]),
		"empty":         gives(nil),
		"endless":       says(recordType, endless{}),
		"more than one": gives(append(slices.Clone(honest), other.publish(t, pathOf("wrong"), 9)...)),
		"cut to zero":   gives(make([]byte, len(honest))),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{Keys: true}, lie, gives(honest), gives(honest))
			w.must(o.name, "right")
			w.askedAre("a", "b", "c")
			if w.strikes != 1 {
				t.Errorf("%d strikes: %v", w.strikes, w.failures)
			}
			w = newWorld(t, Config{Keys: true}, lie)
			if err := w.mustNot(o.name); !isGateways(err) {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("a page", func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, says("text/html", strings.NewReader("<html>")), gives(honest))
		w.must(o.name, "right")
		if w.strikes != 0 {
			t.Error("a gateway that has no records was held to be bad")
		}
	})
}

func isGateways(err error) bool {
	_, ok := errors.AsType[gateway.Error](err)
	return ok
}

// A record is asked for again when its TTL is over, within reason.
func TestTTL(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	for ttl, want := range map[time.Duration]time.Duration{
		0:                         minTTL,
		time.Minute:               time.Minute,
		10 * 365 * 24 * time.Hour: maxTTL,
	} {
		synctest.Test(t, func(t *testing.T) {
			sign := func(s string, sequence uint64) fake {
				return gives(o.sign(t, pathOf(s), sequence, time.Now().Add(24*time.Hour), ttl))
			}
			w := newWorld(t, Config{Keys: true}, sign("old", 1))
			if got := w.must(o.name, "old"); time.Until(got.Expires) != want || got.Before != nil {
				t.Errorf("TTL %s: expires in %s", ttl, time.Until(got.Expires))
			}
			w.set(sign("new", 2))
			clocktest.Advance(want - time.Nanosecond)
			w.must(o.name, "old")
			w.askedAre()
			clocktest.Advance(time.Nanosecond)
			got := w.must(o.name, "new")
			if old, _ := content("old"); len(got.Before) != 1 || got.Before[0].Root != old {
				t.Errorf("before, it was %v", got.Before)
			}
			clocktest.Advance(memory)
			if got := w.must(o.name, "new"); len(got.Before) != 0 {
				t.Errorf("an hour later, it still is known that it was %v", got.Before)
			}
		})
	}
}

// Nothing is believed for longer than its owner signed.
func TestTTLEndsWithValidity(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.sign(t, pathOf("x"), 1, time.Now().Add(time.Minute), time.Hour)))
		if got := w.must(o.name, "x"); time.Until(got.Expires) != time.Minute {
			t.Errorf("expires in %s", time.Until(got.Expires))
		}
	})
}

// While a record is valid it is used where no gateway answers, and no longer.
func TestStale(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.sign(t, pathOf("x"), 1, time.Now().Add(time.Hour), time.Minute)))
		w.must(o.name, "x")
		w.set(status(500))
		clocktest.Advance(30 * time.Minute)
		if got := w.must(o.name, "x"); time.Until(got.Expires) != retry {
			t.Errorf("expires in %s", time.Until(got.Expires))
		}
		w.askedAre("a")
		w.must(o.name, "x")
		w.askedAre() // so soon again

		// Nobody waits for long where there is an answer.
		w.set(silent)
		clocktest.Advance(retry)
		began := time.Now()
		w.must(o.name, "x")
		w.must(o.name, "x")
		if time.Since(began) != hurry {
			t.Errorf("took %s", time.Since(began))
		}

		clocktest.Advance(30 * time.Minute)
		err := w.mustNot(o.name)
		if !errors.Is(err, ErrExpired) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "expired on 2000-01-01 01:00:00") {
			t.Errorf("error %v", err)
		}
		// Nor is what is older.
		w.set(gives(o.sign(t, pathOf("older"), 0, time.Now().Add(time.Hour), time.Minute)))
		if err := w.mustNot(o.name); !errors.Is(err, ErrExpired) {
			t.Errorf("error %v", err)
		}
		w.set(gives(o.publish(t, pathOf("y"), 2)))
		w.must(o.name, "y")
	})
}

// A record that has expired is an answer of an honest gateway, and another may
// have a newer one.
func TestExpired(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		old := gives(o.sign(t, pathOf("x"), 1, time.Now().Add(-time.Second), time.Minute))
		w := newWorld(t, Config{Keys: true}, old, old)
		if err := w.mustNot(o.name); !errors.Is(err, ErrExpired) || w.strikes != 0 {
			t.Errorf("error %v, %v", err, w.failures)
		}
		w = newWorld(t, Config{Keys: true}, old, gives(o.publish(t, pathOf("y"), 2)))
		w.must(o.name, "y")
	})
}

// A second gateway that does not answer is not waited for like a first one.
func TestSecondOpinionInTime(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.publish(t, pathOf("x"), 1)), silent)
		began := time.Now()
		w.must(o.name, "x")
		if w.askedAre("a", "b"); time.Since(began) != hurry || w.strikes != 0 {
			t.Errorf("took %s: %v", time.Since(began), w.failures)
		}
	})
}

// However many ask, gateways are asked once; and no longer than anybody waits.
func TestOneLookup(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		record := o.publish(t, pathOf("x"), 1)
		w := newWorld(t, Config{Keys: true}, func(r *http.Request) (*http.Response, error) {
			<-time.After(time.Second)
			return gives(record)(r)
		})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := w.Resolve(t.Context(), o.name); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		w.askedAre("a")
	})
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		w := newWorld(t, Config{Keys: true}, func(r *http.Request) (*http.Response, error) {
			defer close(gone)
			return silent(r)
		})
		began := time.Now()
		ctx, cancel := withCancel(t)
		time.AfterFunc(time.Second, cancel)
		if _, err := w.Resolve(ctx, o.name); !errors.Is(err, errLeft) {
			t.Errorf("error %v", err)
		}
		if <-gone; time.Since(began) != time.Second {
			t.Errorf("the gateway was waited for %s", time.Since(began))
		}
		w.set(gives(o.publish(t, pathOf("x"), 1)))
		w.must(o.name, "x")
	})
}

// A look-up that was given up does not undo what the next one found.
func TestGivenUp(t *testing.T) {
	n := Name{domain: "example.com"}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Domains: []string{n.domain}})
		answers := make(chan func() string, 2)
		w.links.lookup = func(context.Context, Name) (link, error) {
			root, _ := content((<-answers)())
			return link{target{root: root}, time.Now().Add(time.Hour), time.Now().Add(time.Hour)}, nil
		}
		answers <- func() string {
			<-time.After(time.Minute)
			return "old"
		}
		ctx, cancel := withCancel(t)
		time.AfterFunc(time.Second, cancel)
		if _, err := w.Resolve(ctx, n); !errors.Is(err, errLeft) {
			t.Errorf("error %v", err)
		}
		answers <- func() string { return "new" }
		w.must(n, "new")
		clocktest.Advance(2 * time.Minute)
		w.must(n, "new")
	})

	k := newKeys(nil, "", nil)
	k.remember(n, record{sequence: 2})
	k.remember(n, record{sequence: 1})
	if r := k.recall(n); r == nil || r.sequence != 2 {
		t.Errorf("remembered %v", r)
	}
}

// Every kind of key has records.
func TestKinds(t *testing.T) {
	for _, kind := range []int{crypto.Ed25519, crypto.RSA, crypto.Secp256k1, crypto.ECDSA} {
		o := newOwner(t, kind)
		w := newWorld(t, Config{Keys: true}, gives(o.publish(t, pathOf("x")+"/a/B c", 0)))
		if got := w.must(o.name, "x"); got.Path != "a/B c" {
			t.Errorf("path %q", got.Path)
		}
	}
}

// Names lead to names, with what is below them.
func TestChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var owners []owner
		for range maxLinks + 1 {
			owners = append(owners, newOwner(t, crypto.Ed25519))
		}
		records := map[string][]byte{}
		for i, o := range owners[1:] {
			records[owners[i].name.String()] = o.linkFrom(t, owners[i])
		}
		last := owners[maxLinks]
		records[last.name.String()] = last.sign(t, pathOf("x")+"/end", 1, time.Now().Add(24*time.Hour), 10*time.Second)
		w := newWorld(t, Config{Keys: true}, func(r *http.Request) (*http.Response, error) {
			return gives(records[r.URL.Path[len("/ipns/"):]])(r)
		})
		// The first of eight.
		got := w.must(owners[1].name, "x")
		for i, step := range got.Way {
			if want := (Step{owners[i+2].name, "p" + strings.Repeat("/p", i)}); step != want {
				t.Errorf("step %d is %v, want %v", i, step, want)
			}
		}
		if len(got.Way) != maxLinks-1 {
			t.Errorf("%d steps", len(got.Way))
		}
		if got.Path != "end"+strings.Repeat("/p", maxLinks-1) || time.Until(got.Expires) != 10*time.Second {
			t.Errorf("%q, in %s", got.Path, time.Until(got.Expires))
		}
		if err := w.mustNot(owners[0].name); !strings.Contains(err.Error(), "more than 8 names") || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
		// Around in a circle.
		records[last.name.String()] = owners[0].linkFrom(t, last)
		clocktest.Advance(time.Hour)
		w.mustNot(owners[0].name)

		// A key's owner cannot have us look up a domain.
		records[last.name.String()] = last.publish(t, "/ipns/internal.example", 9)
		clocktest.Advance(time.Hour)
		err := w.mustNot(last.name)
		if refused, ok := errors.AsType[*NotAllowedError](err); !ok || refused.Name.Domain() != "internal.example" {
			t.Errorf("error %v", err)
		}
	})
}

// Where a name led to before is told with the way there.
func TestWayBefore(t *testing.T) {
	o, other := newOwner(t, crypto.Ed25519), newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		through := gives(other.linkFrom(t, o))
		w := newWorld(t, Config{Keys: true}, func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, other.name.String()) {
				return gives(other.publish(t, pathOf("x"), 1))(r)
			}
			return through(r)
		})
		w.must(o.name, "x")
		w.set(gives(o.publish(t, pathOf("y"), uint64(time.Now().Unix())+1)))
		clocktest.Advance(time.Minute)
		got := w.must(o.name, "y")
		if len(got.Way) != 0 || len(got.Before) != 1 || !slices.Equal(got.Before[0].Way, []Step{{other.name, "p"}}) {
			t.Errorf("the way is %v, before %v", got.Way, got.Before)
		}
	})
}

// linkFrom is the record by which another owner's name leads to this one.
func (o owner) linkFrom(t testing.TB, from owner) []byte {
	return from.publish(t, "/ipns/"+o.name.String()+"/p", uint64(time.Now().Unix()))
}

func TestNotAllowed(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	w := newWorld(t, Config{Domains: []string{"example.com"}}, status(500))
	for _, n := range []Name{o.name, {domain: "example.org"}, {domain: "sub.example.com"}} {
		if _, ok := errors.AsType[*NotAllowedError](w.mustNot(n)); !ok || len(w.asked) > 0 {
			t.Errorf("%s: asked %v", n, w.asked)
		}
	}
	if _, err := New(Config{Domains: []string{"*.example.com"}}); err == nil {
		t.Error("a wildcard is taken for a domain")
	}
}
