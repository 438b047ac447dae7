package main

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
)

// A storedImage is where an argument leads.
type storedImage struct {
	origin.Origin
	ref address
}

// openImage opens what an argument names, in the place that --from says.
func openImage(args []string, from, token string) (storedImage, error) {
	at, err := parsePlace(from, token)
	if err != nil {
		return storedImage{}, err
	}
	return at.image(args)
}

// image opens what an argument names. Without one, it is the root of a CAR file.
func (p *place) image(args []string) (storedImage, error) {
	var ref address
	if len(args) > 0 {
		var err error
		if ref, err = parseAddress(args[0]); err != nil {
			return storedImage{}, err
		}
	}
	o, roots, err := p.origin()
	if err != nil {
		return storedImage{}, err
	}
	if len(args) == 0 {
		if ref.root, err = onlyRoot(roots); err != nil {
			o.Close()
			return storedImage{}, err
		}
	}
	return storedImage{o, ref}, nil
}

// addresses wants arguments, and says what they are.
func addresses(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("which image? Give its address, as converter printed it")
	}
	return nil
}

func onlyRoot(roots []cid.Cid) (cid.Cid, error) {
	switch len(roots) {
	case 0:
		return cid.Undef, errors.New("which image? Give its address, as converter printed it")
	case 1:
		return roots[0], nil
	}
	return cid.Undef, fmt.Errorf("the CAR file has %d roots: which one? Give its address", len(roots))
}
