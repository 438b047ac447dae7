package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A place is where images are kept: a store, a node, or a CAR file.
type place struct {
	store string
	api   string
	token string
	car   string

	gateways []string // to read from only
	compared bool     // with the store, where that is not the place itself

	warnf func(format string, args ...any) // of gateways
}

// logTo tells of anything but results, a line a call.
func logTo(w io.Writer) func(format string, args ...any) {
	return func(format string, args ...any) { fmt.Fprintln(w, oneLine(fmt.Sprintf(format, args...))) }
}

// registerTo adds the flags of a place to put images.
func (p *place) registerTo(fs *pflag.FlagSet) {
	fs.StringVar(&p.store, "store", "", "put images into the store in this `directory` (default "+defaultStore()+")")
	fs.StringVar(&p.api, "ipfs-api", "", "put images into the Kubo node with this RPC `URL` and pin them (default $IPFS_API)")
	fs.StringVar(&p.token, "ipfs-api-token", "", "bearer `token` for the node's API")
	fs.StringVar(&p.car, "car", "", "write images to this CAR `file`")
}

// registerFrom adds the flags of a place to read images from.
func (p *place) registerFrom(fs *pflag.FlagSet) {
	fs.StringVar(&p.store, "store", "", "read from the store in this `directory` (default "+defaultStore()+")")
	fs.StringVar(&p.api, "ipfs-api", "", "read from the Kubo node with this RPC `URL` (default $IPFS_API)")
	fs.StringVar(&p.token, "ipfs-api-token", "", "bearer `token` for the node's API")
	fs.StringVar(&p.car, "car", "", "read from this CAR `file`")
	p.registerGateways(fs)
}

func (p *place) registerGateways(fs *pflag.FlagSet) {
	fs.StringArrayVar(&p.gateways, "gateway", nil, "read from the IPFS gateway at this `URL`, which need not be trusted; may be given several times")
}

// check reports a flag that was given nothing, or one too many, and takes
// $IPFS_API where no flag says where.
func (p *place) check(fs *pflag.FlagSet) error {
	var named []string
	for _, name := range []string{"store", "ipfs-api", "car", "no-add"} {
		flag := fs.Lookup(name)
		if flag == nil || !flag.Changed {
			continue
		}
		if flag.Value.String() == "" {
			return fmt.Errorf("--%s has no value", name)
		}
		named = append(named, "--"+name)
	}
	if len(p.gateways) > 0 {
		named = append(named, "--gateway")
	}
	if p.compared && len(named) > 1 {
		named = slices.DeleteFunc(named, func(name string) bool { return name == "--store" })
	}
	switch {
	case len(named) > 1 && fs.Lookup("from") != nil && fs.Lookup("input") == nil:
		return fmt.Errorf("%s and %s both say where images go: where they come from is --from", named[0], named[1])
	case len(named) > 1:
		return fmt.Errorf("%s and %s are two places: give one", named[0], named[1])
	case len(named) == 0:
		p.api = os.Getenv("IPFS_API")
	case p.car == "-":
		return errors.New("--car has the name of a file, and - is none")
	}
	if p.token != "" && p.api == "" {
		return errors.New("--ipfs-api-token is for a node, and neither --ipfs-api nor IPFS_API names one")
	}
	return nil
}

// destination returns the place as one to put images into, and what to call it.
func (p *place) destination(logf func(string, ...any)) (converter.Destination, string, error) {
	switch {
	case p.api != "":
		dst, err := destination.ToKubo(p.api, p.token, logf)
		return dst, "the IPFS node", err
	case p.car != "":
		dst, err := destination.ToCAR(p.car)
		return dst, p.car, err
	}
	dir, err := p.dir()
	if err != nil {
		return nil, "", err
	}
	dst, err := destination.ToStore(dir)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: name a directory of yours with --store, and to Caddy", err)
	}
	return dst, dir, err
}

// origin returns the place as one to read from, and the roots of a CAR file.
func (p *place) origin() (origin.Origin, []cid.Cid, error) {
	switch {
	case p.api != "":
		node, err := kubo.NewNode(p.api, p.token)
		return origin.FromNode(node), nil, err
	case p.car != "":
		return origin.FromCAR(p.car)
	case len(p.gateways) > 0:
		o, err := origin.FromGateways(p.gateways, p.warnf)
		return o, nil, err
	}
	dir, err := p.dir()
	if err != nil {
		return origin.Origin{}, nil, err
	}
	o, err := origin.FromStore(dir)
	return o, nil, err
}

func (p *place) dir() (string, error) {
	if p.store != "" {
		return p.store, nil
	}
	return store.DefaultDir()
}

func defaultStore() string {
	dir, err := store.DefaultDir()
	if err != nil {
		return "none: " + err.Error()
	}
	return dir
}

// parsePlace reads where images are in one word: a store's directory, a CAR file,
// or the address of a node's API. No word is the default store.
func parsePlace(s, token string) (place, error) {
	if s == "" || strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		return place{api: s, token: token}, nil
	}
	info, err := os.Stat(s)
	if err == nil && info.IsDir() {
		return place{store: s}, nil
	}
	if _, _, address := net.SplitHostPort(s); address == nil && err != nil {
		return place{api: s, token: token}, nil
	}
	if err != nil {
		return place{}, fmt.Errorf("--from: %w: it is a store's directory, a CAR file, or the http:// URL of a node's RPC API", err)
	}
	return place{car: s}, nil
}
