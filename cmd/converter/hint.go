package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A repairable fault is one that converter repair mends.
type repairable struct {
	verify.Fault
	at place
}

// withHint adds to an error which command or flag helps. The packages below know
// what is wrong, and nothing of the command line.
func withHint(err error) error {
	if hint := hintFor(err); hint != "" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return err
}

func hintFor(err error) string {
	if fault, ok := errors.AsType[repairable](err); ok {
		ref := origin.Address(fault.Root)
		if name, _, _ := layout.Split(fault.Path); name != "" {
			ref += "/" + name
		}
		return fmt.Sprintf("`%s` writes it anew", strings.TrimSpace("converter repair "+ref+" "+fault.at.fromFlag()))
	}
	if damaged, ok := errors.AsType[*store.ImageError](err); ok {
		return fmt.Sprintf("no file of any image was removed; convert or copy this image again, or give it up with `converter rm %s`", origin.Address(damaged.Root))
	}
	return ""
}
