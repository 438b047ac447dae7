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

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
)

func TestNewestRecordOfTwoGatewaysIsUsed(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		older, newer := gives(o.publish(t, pathOf("older"), 1)), gives(o.publish(t, pathOf("newer"), 2))
		for _, gateways := range [][]fake{{older, newer}, {newer, older}, {newer, newer}, {status(500), newer, older}, {status(404), newer}} {
			w := newWorld(t, Config{Keys: true}, gateways...)
			w.must(o.name, "newer")
			w.must(o.name, "newer")
			w.askedAre() // the link is known
		}

		// All gateways together cannot bring an older record back.
		w := newWorld(t, Config{Keys: true}, newer)
		w.must(o.name, "newer")
		w.set(older)
		clocktest.Advance(time.Minute)
		w.must(o.name, "newer")
		w.askedAre("a")
		if w.strikes > 0 {
			t.Error("a gateway that does not know the newest yet was blamed")
		}
	})
}

// Owners renew a record with the same sequence number.
func TestLaterEndOfTheSameSequenceIsNewer(t *testing.T) {
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

func TestNewestRecordIsKnownAfterARestart(t *testing.T) {
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

		// The disk is not trusted.
		if err := os.WriteFile(filepath.Join(dir, o.name.String()), newOwner(t, crypto.Ed25519).publish(t, pathOf("false"), 9), 0o600); err != nil {
			t.Fatal(err)
		}
		start(t, gives(o.publish(t, pathOf("older"), 1))).must(o.name, "older")
	})
}

func TestFailureOfTheDiskIsReportedOnce(t *testing.T) {
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

func TestLeastRecentlyUsedRecordsMakeRoomOnDisk(t *testing.T) {
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
	if err := d.save(o.name, r, data, false); err != nil {
		t.Fatal(err)
	}
	files, err := readFiles(d.dir)
	if err != nil || len(files) != maxNames*3/4+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if f.used.Unix() < maxNames/4 {
			t.Fatalf("%s was kept, of %s", f.name, f.used)
		}
	}
}

func TestProcessesThatShareADiskUseItsNewestRecord(t *testing.T) {
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
		if kept, err := (&disk{dir: c.Dir}).load(o.name); err != nil || kept.sequence != 3 {
			t.Errorf("record %d is kept, %v", kept.sequence, err)
		}
	})
}

func TestNewestOfConcurrentWritesIsKept(t *testing.T) {
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
			if err := (&disk{dir: dir}).replace(filepath.Join(dir, o.name.String()), o.name, r, func(path string) error { return os.Rename(file, path) }); err != nil {
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

func TestUseUpdatesTheTimeOfAFile(t *testing.T) {
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
	if err := os.Remove(file); err != nil { // to make room
		t.Fatal(err)
	}
	newWorld(t, c, record).must(o.name, "x")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// A record with a useless target supersedes the ones before it.
func TestNameIsWithdrawnByAUselessTarget(t *testing.T) {
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
				t.Errorf("%s: an honest gateway was blamed: %v", name, w.failures)
			}
			w.set(status(500))
			withdrawnHere() // though another gateway still has the older record
			w = newWorld(t, c, older, older)
			withdrawnHere() // after a restart
			w.set(gives(o.publish(t, pathOf("newest"), 3)))
			w.must(o.name, "newest")
		})
	}
}

func TestFalseRecordCountsAgainstItsGateway(t *testing.T) {
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
			t.Error("a gateway that has no records was blamed")
		}
	})
}

func isGateways(err error) bool {
	_, ok := errors.AsType[gateway.Error](err)
	return ok
}

func TestRecordIsLookedUpAgainAfterItsTTL(t *testing.T) {
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
				t.Errorf("it stood before for %v", got.Before)
			}
			clocktest.Advance(stayTime)
			if got := w.must(o.name, "new"); len(got.Before) != 0 {
				t.Errorf("an hour later, it stood before for %v", got.Before)
			}
		})
	}
}

// A registry that follows another one sees changes within the TTL, however short it is. Its
// owner chose the key.
func TestConfiguredKeyIsLookedUpEachSecond(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	for ttl, want := range map[time.Duration]time.Duration{0: time.Second, 2 * time.Second: 2 * time.Second, time.Minute: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{Others: []Name{o.name}}, gives(o.sign(t, pathOf("x"), 1, time.Now().Add(time.Hour), ttl)))
			if got := w.must(o.name, "x"); time.Until(got.Expires) != want {
				t.Errorf("TTL %s: expires in %s", ttl, time.Until(got.Expires))
			}
		})
	}
}

// The owner of a key can say that no tag is an alias.
func TestRecordSaysThatTagsAreLiteral(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	for _, literal := range []bool{true, false} {
		record := o.sign(t, pathOf("x"), 1, time.Now().Add(time.Hour), time.Minute, ipns.WithMetadata(map[string]any{"_literal_tags": literal}))
		if got := newWorld(t, Config{Keys: true}, gives(record)).must(o.name, "x"); got.Literal != literal {
			t.Errorf("%v, want %v", got.Literal, literal)
		}
	}
	if got := newWorld(t, Config{Keys: true}, gives(o.publish(t, pathOf("x"), 1))).must(o.name, "x"); got.Literal {
		t.Error("a record that says nothing of tags")
	}
}

func TestTTLEndsWithTheValidity(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.sign(t, pathOf("x"), 1, time.Now().Add(time.Minute), time.Hour)))
		if got := w.must(o.name, "x"); time.Until(got.Expires) != time.Minute {
			t.Errorf("expires in %s", time.Until(got.Expires))
		}
	})
}

func TestRecordIsUsedWhileValidIfNoGatewayAnswers(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.sign(t, pathOf("x"), 1, time.Now().Add(time.Hour), time.Minute)))
		w.must(o.name, "x")
		w.set(status(500))
		clocktest.Advance(30 * time.Minute)
		if got := w.must(o.name, "x"); time.Until(got.Expires) != retryInterval {
			t.Errorf("expires in %s", time.Until(got.Expires))
		}
		w.askedAre("a")
		w.must(o.name, "x")
		w.askedAre() // too soon for another look-up

		// A request that has an answer does not wait for long.
		w.set(silent)
		clocktest.Advance(retryInterval)
		began := time.Now()
		w.must(o.name, "x")
		w.must(o.name, "x")
		if time.Since(began) != maxWait {
			t.Errorf("took %s", time.Since(began))
		}

		clocktest.Advance(30 * time.Minute)
		err := w.mustNot(o.name)
		if !errors.Is(err, ErrExpired) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "expired on 2000-01-01 01:00:00") {
			t.Errorf("error %v", err)
		}
		// An older record does not count either.
		w.set(gives(o.sign(t, pathOf("older"), 0, time.Now().Add(time.Hour), time.Minute)))
		if err := w.mustNot(o.name); !errors.Is(err, ErrExpired) {
			t.Errorf("error %v", err)
		}
		w.set(gives(o.publish(t, pathOf("y"), 2)))
		w.must(o.name, "y")
	})
}

// Another gateway may have a newer record.
func TestExpiredRecordIsNoFaultOfItsGateway(t *testing.T) {
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

func TestSecondGatewayHasLittleTime(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Keys: true}, gives(o.publish(t, pathOf("x"), 1)), silent)
		began := time.Now()
		w.must(o.name, "x")
		if w.askedAre("a", "b"); time.Since(began) != maxWait || w.strikes != 0 {
			t.Errorf("took %s: %v", time.Since(began), w.failures)
		}
	})
}

func TestRequestsShareALookupThatEndsWithTheLast(t *testing.T) {
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
			t.Errorf("the look-up took %s", time.Since(began))
		}
		w.set(gives(o.publish(t, pathOf("x"), 1)))
		w.must(o.name, "x")
	})
}

func TestAbandonedLookupDoesNotReplaceALaterResult(t *testing.T) {
	n := Name{domain: "example.com"}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Domains: []string{n.domain}})
		answers := make(chan func() string, 2)
		w.links.lookup = func(context.Context, Name) (link, error) {
			root, _ := content((<-answers)())
			return link{target: target{root: root}, fresh: time.Now().Add(time.Hour), valid: time.Now().Add(time.Hour)}, nil
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

	k := newKeys(nil, "", nil, func(Name) bool { return false })
	k.remember(n, record{sequence: 2})
	k.remember(n, record{sequence: 1})
	if r := k.recall(n); r == nil || r.sequence != 2 {
		t.Errorf("remembered %v", r)
	}
}

func TestEveryKindOfKeyIsResolved(t *testing.T) {
	for _, kind := range []int{crypto.Ed25519, crypto.RSA, crypto.Secp256k1, crypto.ECDSA} {
		o := newOwner(t, kind)
		w := newWorld(t, Config{Keys: true}, gives(o.publish(t, pathOf("x")+"/a/B c", 0)))
		if got := w.must(o.name, "x"); got.Path != "a/B c" {
			t.Errorf("path %q", got.Path)
		}
	}
}

func TestNamesLeadToPathsBelowOtherNames(t *testing.T) {
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

		// The owner of a key cannot direct DNS queries to another domain.
		records[last.name.String()] = last.publish(t, "/ipns/internal.example", 9)
		clocktest.Advance(time.Hour)
		err := w.mustNot(last.name)
		if refused, ok := errors.AsType[*NotAllowedError](err); !ok || refused.Name.Domain() != "internal.example" {
			t.Errorf("error %v", err)
		}
	})
}

func TestFormerPlaceHasItsWay(t *testing.T) {
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

// linkFrom returns a record of another owner that points below this owner's name.
func (o owner) linkFrom(t testing.TB, from owner) []byte {
	return from.publish(t, "/ipns/"+o.name.String()+"/p", uint64(time.Now().Unix()))
}

func TestOnlyConfiguredNamesAreResolved(t *testing.T) {
	o := newOwner(t, crypto.Ed25519)
	w := newWorld(t, Config{Domains: []string{"example.com"}}, status(500))
	for _, n := range []Name{o.name, {domain: "example.org"}, {domain: "sub.example.com"}} {
		if _, ok := errors.AsType[*NotAllowedError](w.mustNot(n)); !ok || len(w.asked) > 0 {
			t.Errorf("%s: asked %v", n, w.asked)
		}
	}
	if _, err := New(Config{Domains: []string{"*.example.com"}}); err == nil {
		t.Error("a wildcard is accepted as a domain")
	}
}
