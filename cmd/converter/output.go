package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/distribution/reference"
	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

// An output is how results are told.
type output struct {
	registry string
	quiet    bool
	json     bool

	host string // that references begin with
	bars *bars  // nil where there are none
	said io.Writer
}

func (o *output) register(fs *pflag.FlagSet) {
	fs.StringVarP(&o.registry, "registry", "r", "http://localhost:5000", "registry to print in the references")
	fs.BoolVar(&o.json, "json", false, "print all that is known of the images, as JSON")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print references and errors only")
}

// start checks the flags, and shows on w from then on what happens, until stop.
func (o *output) start(w io.Writer) (err error) {
	if o.host, err = host(o.registry); err != nil || o.quiet {
		return err
	}
	o.said = w
	if o.bars = newBars(w); o.bars != nil {
		o.said = o.bars
	}
	return nil
}

// stop takes bars away, if there are any. It may be called twice.
func (o *output) stop() {
	if o.bars != nil {
		o.bars.Shutdown()
		o.said, o.bars = o.bars.below, nil
	}
}

// quickToCount is how many blobs a store may have for it to be said in passing
// how much is new.
const quickToCount = 1000

// options adds to the options who is told of progress and what happens.
func (o *output) options(c converter.Options) converter.Options {
	c.Logf = o.logf
	switch {
	case o.json:
		c.CountReused = math.MaxInt
	case !o.quiet:
		c.CountReused = quickToCount
	}
	if o.bars != nil {
		c.Progress = o.bars
	}
	return c
}

// logf tells of anything but results, a line a call.
func (o *output) logf(format string, args ...any) {
	if o.said != nil {
		fmt.Fprintln(o.said, oneLine(fmt.Sprintf(format, args...)))
	}
}

// print says where the images are, and prints a reference a line.
func (o *output) print(w io.Writer, result *converter.Result, where string) error {
	o.stop()
	if o.json {
		return o.printJSON(w, result, where)
	}
	if result.Reused < 0 {
		o.logf("stored in %s: %s", where, size(result.Bytes))
	} else {
		o.logf("stored in %s: %s, of which %s are new", where, size(result.Bytes), size(result.Bytes-result.Reused))
	}
	references, err := result.References(o.host)
	if err != nil {
		return err
	}
	for _, ref := range references {
		if _, err := fmt.Fprintln(w, ref); err != nil {
			return err
		}
	}
	return nil
}

func size(bytes int64) string { return humanize.Bytes(uint64(bytes)) }

// host is a registry's URL as image references begin, if they can.
func host(registry string) (string, error) {
	host := registry
	if _, rest, found := strings.Cut(registry, "://"); found {
		host = rest
	}
	host = strings.TrimRight(host, "/")
	named, err := reference.ParseNormalizedNamed(host + "/image")
	if err != nil || reference.Domain(named) != host || host != strings.ToLower(host) {
		return "", fmt.Errorf("--registry %q is not what a reference can begin with: give a host name with a dot or a port, and no path, such as localhost:5000", registry)
	}
	return host, nil
}
