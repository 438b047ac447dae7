package store

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

var (
	kills = flag.Int("kills", 40, "how many programs TestKilledProgramsLoseNoImage kills")
	seed  = flag.Uint64("seed", 6, "of the moments at which it kills them")
)

// Caddys and converters work on one store and are killed again and again. Every image
// that a converter reported is whole, no client gets a wrong byte, and the killed
// programs leave nothing behind.
func TestKilledProgramsLoseNoImage(t *testing.T) {
	harness.ParallelFor(t, 15*time.Minute+time.Duration(*kills)*time.Minute)
	const atOnce = 5 // images that are pulled from each Caddy
	node := harness.NewKubo(t)
	content, shared := harness.Noise(4<<20), harness.Noise(1<<20)
	gateway := newMeter(t, node.Gateway, 15e6)
	k := &killing{store: filepath.Join(t.TempDir(), "store"), random: rand.New(rand.NewPCG(*seed, 6))}
	k.caddys.time, k.converters.time = 400*time.Millisecond, 100*time.Millisecond
	k.mustConvertOne(t) // so that there is a store, even if all programs of the first round are killed early
	var images []string
	for i := 0; k.killed < *kills; i++ {
		images = append(images, cachedImage(t, node, fmt.Sprintf("app%d:v1", i), content[i%2048<<10:][:2<<20], fmt.Sprint("layer ", i)))
		caddys := [...]*harness.Caddy{withCache(t, k.store, gateway.URL), withCache(t, k.store, gateway.URL)}
		k.mustClear(t, caddys[0])
		for _, path := range k.reported[k.served:] {
			caddys[0].MustHave(t, path, 1)
		}
		k.served = len(k.reported)
		var all sync.WaitGroup
		for j, c := range caddys {
			archive := harness.ArchiveOfLayers(t, fmt.Sprintf("own%d-%d:v1", i, j), shared, content[i%2048<<10:][:1<<20], fmt.Sprint("of ", i, j))
			all.Go(func() { k.convert(t, archive) })
			all.Go(func() { k.pull(t, c, images[max(0, len(images)-atOnce):]) })
		}
		all.Wait()
		harness.InStore(t, k.store, "verify", "--all") // which fails if anything is damaged
	}
	k.mustBeWhole(t, withCache(t, k.store, gateway.URL), images)
	t.Logf("%d kills, %d images checked, 0 lost", k.killed, len(k.reported)+len(images))
	t.Logf("of %d pulls %d were complete before the kill; of %d conversions %d were reported", k.pulls, k.pulled, k.conversions, len(k.reported))
}

// A killing is the store that programs are killed on, and what they did before.
type killing struct {
	store              string
	caddys, converters victims

	mu       sync.Mutex // guards all fields below
	random   *rand.Rand
	reported []string // images whose reference a converter printed
	served   int      // how many of these were pulled since

	killed, pulls, pulled, conversions int
}

// Victims are programs of one kind, killed at a random moment within a time. The time
// adapts to about twice what their work takes on this machine now.
type victims struct{ time time.Duration }

func (v *victims) adapt(finished bool) {
	if finished {
		v.time = v.time * 2 / 3
	} else {
		v.time = v.time * 3 / 2
	}
}

// kill kills a program at a random moment, and calls work meanwhile, which reports
// whether the program finished its work.
func (k *killing) kill(d *harness.Daemon, v *victims, work func() (finished bool)) {
	k.mu.Lock()
	moment := time.After(time.Duration(k.random.Int64N(int64(v.time))))
	k.mu.Unlock()
	killed := make(chan bool)
	go func() {
		<-moment
		killed <- d.Cmd.Process.Kill() == nil
	}()
	finished := work()
	wasAlive := <-killed
	<-d.Ended
	k.mu.Lock()
	defer k.mu.Unlock()
	v.adapt(finished)
	if wasAlive {
		k.killed++
	}
}

// pull pulls images from a Caddy that is killed meanwhile.
func (k *killing) pull(t *testing.T, c *harness.Caddy, images []string) {
	k.kill(c.Daemon, &k.caddys, func() bool {
		var pulled atomic.Int64
		var all sync.WaitGroup
		for _, image := range images {
			all.Go(func() {
				if pullBy(t, harness.Fetch, harness.Repository(c.Host()+"/"+image)) {
					pulled.Add(1)
				}
			})
		}
		all.Wait()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pulls += len(images)
		k.pulled += int(pulled.Load())
		return int(pulled.Load()) == len(images)
	})
}

// convert runs a converter that is killed meanwhile, and notes the reference that it
// prints, if any.
func (k *killing) convert(t *testing.T, archive string) {
	d := harness.StartDaemon(t, "converter", harness.Converter(t, archive, "--quiet", "--store="+k.store))
	k.kill(d, &k.converters, func() bool {
		<-d.Ended
		k.mu.Lock()
		defer k.mu.Unlock()
		k.conversions++
		line, _, reported := strings.Cut(d.Log.String(), "\n")
		if reported {
			_, path, _ := strings.Cut(line, "/")
			k.reported = append(k.reported, path)
		}
		return reported
	})
}

// mustConvertOne converts an image without killing the converter.
func (k *killing) mustConvertOne(t *testing.T) {
	t.Helper()
	line := harness.Convert(t, harness.ArchiveOfLayers(t, "first:v1", "content"), "--quiet", "--store="+k.store)
	_, path, _ := strings.Cut(line, "/")
	k.reported = append(k.reported, path)
}

// mustClear fails the test unless an idle Caddy removes what killed Caddys left in tmp.
func (k *killing) mustClear(t *testing.T, c *harness.Caddy) {
	t.Helper()
	c.Await(t, "an empty tmp", func() bool { return len(filesIn(t, k.store, "cache/tmp/*")) == 0 })
}

// mustBeWhole fails the test unless all images are served, the store is undamaged, and
// nothing is left in its temporary directories.
func (k *killing) mustBeWhole(t *testing.T, c *harness.Caddy, images []string) {
	t.Helper()
	for _, path := range slices.Concat(k.reported, images) {
		c.MustHave(t, path, 2)
	}
	for _, path := range k.reported {
		harness.Run(t, exec.Command(harness.InRepo("bin/converter"), "verify", path, "--store="+k.store))
	}
	c.StopGently()
	harness.InStore(t, k.store, "gc")
	harness.InStore(t, k.store, "verify", "--all")
	if left := append(filesIn(t, k.store, "cache/tmp/*"), filesIn(t, k.store, "tmp/*")...); len(left) > 0 {
		t.Errorf("killed programs left %q", left)
	}
	if k.pulled == 0 || len(k.reported) == 1 {
		t.Error("every program was killed before it had done anything")
	}
}
