package push

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

var (
	kills = flag.Int("kills", 40, "how many programs TestKilledPushes kills")
	seed  = flag.Uint64("seed", 5, "of the moments at which it kills them")
)

// Caddys and converters that change one root are killed at random moments, while eight
// clients push, pull and delete through one of these Caddys and through one that stays.
// Afterwards, everything that was answered still holds, every image is whole, uploads can be
// continued, and the log of the root and its IPNS record name the current state.
func TestKilledPushes(t *testing.T) {
	harness.ParallelFor(t, 10*time.Minute+time.Duration(*kills)*time.Minute)
	k := &killing{store: t.TempDir(), random: rand.New(rand.NewPCG(*seed, 6))}
	k.caddys.time, k.converters.time = 600*time.Millisecond, 400*time.Millisecond
	k.archive = harness.ArchiveOfLayers(t, "converted:v1", harness.Noise(1<<20))
	k.stays = newRegistry(t, k.store)
	all := newTold()
	for round := 0; k.killed < *kills; round++ {
		told := k.round(t, round)
		told.mustHold(t, k.stays)
		all.add(told)
	}
	all.mustHold(t, k.stays)
	harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "verify", "--all", "--store="+k.store))
	harness.InStore(t, k.store, "gc")
	if k.uploads == 0 || k.conversions == 0 || len(all.manifests) < *kills {
		t.Errorf("%d uploads were continued, %d conversions ended, %d manifests were pushed", k.uploads, k.conversions, len(all.manifests))
	}
	t.Logf("%d kills, %d manifests checked, 0 lost", k.killed, len(all.manifests))
	t.Logf("%d uploads were continued, %d conversions ended", k.uploads, k.conversions)
}

// A killing is the store that programs are killed on, and what they did so far.
type killing struct {
	store, archive string
	stays          *harness.Caddy

	mu                 sync.Mutex // guards what follows
	random             *rand.Rand
	caddys, converters victims
	killed             int

	uploads, conversions int    // how many were continued, and how many ended
	sequence             uint64 // of the newest record that was signed
}

// Victims are programs of one kind, each killed at a random moment within a time. The time
// adapts to about twice the time that their work now takes on this machine.
type victims struct{ time time.Duration }

func (v *victims) adapt(finished bool) {
	if finished {
		v.time = v.time * 2 / 3
	} else {
		v.time = v.time * 3 / 2
	}
}

// killAtRandom kills a program at a random moment, unless the program ends before, and waits
// for its end.
func (k *killing) killAtRandom(d *harness.Daemon, v *victims) {
	k.mu.Lock()
	moment := time.NewTimer(time.Duration(k.random.Int64N(int64(v.time))))
	k.mu.Unlock()
	defer moment.Stop()
	select {
	case <-d.Ended:
		return
	case <-moment.C:
	}
	wasAlive := d.Cmd.Process.Kill() == nil
	<-d.Ended
	if wasAlive {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.killed++
	}
}

// round kills a Caddy and a few converters, and returns the answers that clients received
// meanwhile.
func (k *killing) round(t *testing.T, number int) *told {
	dies, told, ended := newRegistry(t, k.store), newTold(), make(chan struct{})
	at := func(host *harness.Caddy, name string) *client {
		return &client{t, host.URL, fmt.Sprintf("/v2/round-%d/%s", number, name), &http.Client{}, told}
	}
	var clients, others sync.WaitGroup
	for i := range 6 {
		clients.Go(func() {
			c := at(dies, fmt.Sprintf("client-%d", i))
			i := 0
			for c.push(i) {
				i++
			}
		})
	}
	upload := new(upload)
	clients.Go(func() { at(dies, "upload").upload(upload) })
	others.Go(func() {
		c := at(k.stays, "stays")
		for i := 0; i == 0 || !isClosed(ended); i++ {
			if !c.push(i) {
				t.Error("the Caddy that stays has ended")
				return
			}
		}
	})
	others.Go(func() {
		for i := 0; !isClosed(ended); i++ {
			k.convert(t, told, fmt.Sprintf("r%d-%d", number, i))
			k.collect(t)
		}
	})
	k.killAtRandom(dies.Daemon, &k.caddys)
	clients.Wait()
	close(ended)
	others.Wait()
	k.caddys.adapt(len(told.manifests) > 20)
	if upload.acknowledged > 0 {
		at(k.stays, "upload").goOn(upload)
		k.uploads++
	}
	if !at(k.stays, "last").push(0) { // which removes what the killed programs left of a change
		t.Error("the Caddy that stays has ended")
	}
	k.mustAgree(t)
	k.mustSign(t)
	return told
}

// convert adds an image to the root, by a converter that may be killed.
func (k *killing) convert(t *testing.T, told *told, tag string) {
	t.Helper()
	if k.converter(t, k.archive, "--quiet", "--onto=root", "--tag="+tag) {
		told.note("/v2/converted/manifests/"+tag, "")
		k.conversions++
	}
}

// collect removes what no state needs, by a converter that may be killed.
func (k *killing) collect(t *testing.T) {
	t.Helper()
	k.converter(t, os.DevNull, "gc", "--keep=0s")
}

// converter runs a converter that may be killed, and reports whether it ended by itself.
func (k *killing) converter(t *testing.T, input string, args ...string) bool {
	t.Helper()
	d := harness.StartDaemon(t, "converter", harness.Converter(t, input, append(args, "--store="+k.store)...))
	k.killAtRandom(d, &k.converters)
	k.converters.adapt(d.Cmd.ProcessState.Success())
	if state := d.Cmd.ProcessState; state.Exited() && !state.Success() {
		t.Errorf("converter %q: %s\n%s", args, state, d.Log)
	}
	return d.Cmd.ProcessState.Success()
}

// mustAgree fails the test unless the log of the root ends with the root as it is.
func (k *killing) mustAgree(t *testing.T) {
	t.Helper()
	current := strings.TrimSpace(harness.ReadFile(t, filepath.Join(k.store, "root", "current")))
	log := strings.TrimSpace(harness.ReadFile(t, filepath.Join(k.store, "root", "log")))
	if last := log[strings.LastIndexByte(log, '\n')+1:]; !strings.Contains(last, `"root":"`+current+`"`) {
		t.Errorf("the root is %s, and its log ends with %.300s", current, last)
	}
}

// mustSign makes a converter sign a record of the root. The record must name the current state,
// and have a higher sequence number than before.
func (k *killing) mustSign(t *testing.T) {
	t.Helper()
	var record struct {
		Value    string
		Sequence uint64
	}
	var states []struct{ Address string }
	for command, value := range map[string]any{"publish": &record, "log": &states} {
		if err := json.Unmarshal([]byte(harness.InStore(t, k.store, command, "--json")), value); err != nil {
			t.Fatal(err)
		}
	}
	if want := "/ipfs/" + harness.CIDv1(t, states[0].Address); record.Value != want || record.Sequence <= k.sequence {
		t.Errorf("record %d, after %d, names %s; the root is %s", record.Sequence, k.sequence, record.Value, want)
	}
	k.sequence = record.Sequence
}

// A told has the answers that clients received, by path.
type told struct {
	mu        sync.Mutex
	manifests map[string]string // the content of those that were pushed; empty where it does not matter
	layers    map[string]string
	deleted   map[string]bool // manifests
}

func newTold() *told {
	return &told{manifests: map[string]string{}, layers: map[string]string{}, deleted: map[string]bool{}}
}

func (told *told) note(manifest, content string) {
	told.mu.Lock()
	defer told.mu.Unlock()
	told.manifests[manifest] = content
}

// add adds the answers of another round, without those about layers, since the manifests
// need their layers.
func (told *told) add(other *told) {
	for path, content := range other.manifests {
		told.manifests[path] = content
	}
	for path := range other.deleted {
		told.deleted[path] = true
	}
}

// mustHold checks with a Caddy that all answers still hold.
func (told *told) mustHold(t *testing.T, caddy *harness.Caddy) {
	t.Helper()
	for path, content := range told.manifests {
		got := harness.Get(t, caddy.URL+path)
		if got.StatusCode != http.StatusOK || content != "" && got.Text != content {
			t.Errorf("%s was pushed, and is answered with %d", path, got.StatusCode)
		}
	}
	for path, content := range told.layers {
		if got := harness.Get(t, caddy.URL+path); got.Text != content {
			t.Errorf("%s was pushed, and is answered with %d", path, got.StatusCode)
		}
	}
	for path := range told.deleted {
		if got := harness.Get(t, caddy.URL+path); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s was deleted, and is answered with %d", path, got.StatusCode)
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
