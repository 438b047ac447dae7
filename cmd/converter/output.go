package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

// An output is how results are told.
type output struct {
	registry string
	quiet    bool
}

func (o *output) register(fs *pflag.FlagSet) {
	fs.StringVarP(&o.registry, "registry", "r", "http://localhost:5000", "registry to print in the references")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print references and errors only")
}

// logf returns what tells of anything but results, a line a call.
func (o *output) logf(w io.Writer) func(string, ...any) {
	if o.quiet {
		return func(string, ...any) {}
	}
	return func(format string, args ...any) { fmt.Fprintln(w, oneLine(fmt.Sprintf(format, args...))) }
}

// print prints a reference a line.
func (o *output) print(w io.Writer, result *converter.Result, host string) error {
	references, err := result.References(host)
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

// host is a registry's URL as image references begin, if they can.
func host(registry string) (string, error) {
	host := registry
	if _, rest, found := strings.Cut(registry, "://"); found {
		host = rest
	}
	host = strings.TrimRight(host, "/")
	named, err := reference.ParseNormalizedNamed(host + "/image")
	if err != nil || reference.Domain(named) != host || host != strings.ToLower(host) {
		return "", errors.New("--registry is not what a reference can begin with: give a host name with a dot or a port, such as localhost:5000")
	}
	return host, nil
}
