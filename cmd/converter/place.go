package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A place is where images are read from or written to. It is made once, from the
// flags of a command, and carries the credentials for itself and for no other
// place.
type place struct {
	kind     placeKind
	path     string           // of a store or CAR file
	node     *kubo.Node       // with its token
	gateways []origin.Gateway // with their headers
}

type placeKind int

const (
	storePlace     placeKind = iota // a store on disk
	carPlace                        // a CAR file
	nodePlace                       // a Kubo node
	gatewayPlace                    // one or more gateways, to read from
	directoryPlace                  // a new directory of plain files, to write to
)

func (p place) isStore() bool { return p.kind == storePlace }

// isStoreIn reports whether the place is the store in dir.
func (p place) isStoreIn(dir string) bool {
	return p.isStore() && filepath.Clean(p.path) == filepath.Clean(dir)
}

// openStore returns the store of a place that is one.
func (p place) openStore() *store.Store { return store.Open(p.path) }

// placeForms says what --from takes.
const placeForms = "a store's directory, a CAR file or a node's RPC address"

// A notStoreError is the error for a file where a store's directory belongs.
type notStoreError struct{ path string }

func (e *notStoreError) Error() string {
	return fmt.Sprintf("--store takes a directory, and %s is a file", e.path)
}

// storeAt returns the store in dir, or the default store.
func storeAt(dir string) (place, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() || err != nil && strings.HasSuffix(dir, ".car") {
		return place{}, &notStoreError{dir}
	}
	if dir != "" {
		return place{kind: storePlace, path: dir}, nil
	}
	dir, err = store.DefaultDir()
	return place{kind: storePlace, path: dir}, err
}

func nodeAt(api, token string) (place, error) {
	node, err := kubo.NewNode(api, token)
	return place{kind: nodePlace, node: node}, err
}

// parsePlace reads the value of --from: a store's directory, a CAR file, or the
// address of a node's RPC API, whose token is used for nothing else.
func parsePlace(s, token string) (place, error) {
	info, err := os.Stat(s)
	switch {
	case kubo.IsAddress(s), err != nil && isHostPort(s):
		return nodeAt(s, token)
	case err != nil:
		return place{}, fmt.Errorf("--from: %w: give the directory of a store, a CAR file, or the address of a node's RPC API", err)
	case token != "":
		return place{}, fmt.Errorf("a token is for a node, and --from %s is not one", s)
	case info.IsDir():
		return storeAt(s)
	}
	return place{kind: carPlace, path: s}, nil
}

func defaultStore() string {
	dir, err := store.DefaultDir()
	if err != nil {
		return "none: " + err.Error()
	}
	return dir
}

func isHostPort(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return err == nil
}

// fromFlag returns the flag with which a command reads from the place, or nothing
// where that is the default.
func (p place) fromFlag() string {
	switch {
	case p.kind == nodePlace:
		return "--from " + p.node.String()
	case p.kind == gatewayPlace:
		return "--gateway " + p.gateways[0].URL
	case p.path == defaultStore():
		return ""
	}
	return "--from " + p.path
}

// isSameNode reports whether both places are one node.
func (p place) isSameNode(other place) bool {
	return p.kind == nodePlace && other.kind == nodePlace && p.node.String() == other.node.String()
}

// asBase returns where the root of --onto is read by default: where images are
// written, or the default store where that cannot be read.
func (p place) asBase() place {
	_, err := os.Stat(p.path)
	if p.kind == directoryPlace || p.kind == carPlace && err != nil {
		return place{kind: storePlace, path: defaultStore()}
	}
	return p
}

// origin opens the place for reading, and returns the roots that a CAR file names.
func (p place) origin(warnf func(format string, args ...any)) (origin.Origin, []cid.Cid, error) {
	switch p.kind {
	case nodePlace:
		return origin.FromNode(p.node), nil, nil
	case carPlace:
		return origin.FromCAR(p.path)
	case gatewayPlace:
		o, err := origin.FromGateways(p.gateways, warnf)
		return o, nil, err
	}
	o, err := origin.FromStore(p.path)
	return o, nil, err
}

// destination opens the place for writing, and returns what to call it in
// messages. A store counts what it has already, up to mostCounted blobs.
func (p place) destination(mostCounted int, logf func(format string, args ...any)) (converter.Destination, string, error) {
	switch p.kind {
	case nodePlace:
		dst, err := destination.ToKubo(p.node, logf)
		return dst, "the IPFS node", err
	case carPlace:
		dst, err := destination.ToCAR(p.path)
		return dst, p.path, err
	case directoryPlace:
		dst, err := destination.ToDirectory()
		if err != nil {
			return nil, "", err
		}
		return dst, dst.Path(), nil
	}
	if err := becomeOwner(p.openStore(), false); err != nil {
		return nil, "", err
	}
	dst, err := destination.ToStore(p.path)
	if err != nil {
		return nil, "", explainStore(err)
	}
	dst.CountReused(mostCounted)
	return dst, p.path, nil
}

// ontoRoot is the value of --onto for the own root of the store that images are written to.
const ontoRoot = "root"

// destinationOnto is destination for a command with --onto. The log of the own root says
// what the command did, in the word what.
func (p place) destinationOnto(onto, what string, mostCounted int, logf func(format string, args ...any)) (converter.Destination, string, error) {
	if onto != ontoRoot {
		return p.destination(mostCounted, logf)
	}
	if !p.isStore() {
		return nil, "", errors.New("--onto root adds images to the root of a store, and they are not written to a store: leave out the flag that names the other place")
	}
	who := userName()
	if err := becomeOwner(p.openStore(), true); err != nil {
		return nil, "", err
	}
	dst, err := destination.ToRoot(p.path, what, who, logf)
	if err != nil {
		return nil, "", explainStore(err)
	}
	dst.CountReused(mostCounted)
	return dst, p.path, nil
}

// explainStore adds advice to the error of opening a store for writing.
func explainStore(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: choose a directory of your own with --store, and give Caddy the same one", err)
	}
	return err
}
