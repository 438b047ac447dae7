package main

import (
	"fmt"
	"os"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
)

// A base is the root that --onto names, if it names one.
type base struct{ *converter.Base }

// openBase opens a root in the place from, or else where images go. A CAR file
// that is still to be written holds none: then it is looked for in the store.
func openBase(onto, from string, to place) (base, error) {
	if onto == "" {
		return base{}, nil
	}
	ref, err := parseAddress(onto)
	if err != nil {
		return base{}, err
	}
	at := to
	if _, err := os.Stat(to.car); from != "" || to.car != "" && err != nil {
		if at, err = parsePlace(from, to.token); err != nil {
			return base{}, err
		}
	}
	o, _, err := at.origin()
	if err != nil {
		return base{}, fmt.Errorf("looking for the root of --onto: %w: --from says where it is", err)
	}
	return base{&converter.Base{From: o, Root: ref.root}}, nil
}

func (b base) base() *converter.Base { return b.Base }

func (b base) close() {
	if b.Base != nil {
		b.From.Close()
	}
}
