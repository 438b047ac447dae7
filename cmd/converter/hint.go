package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/destination"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/kubo"
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
	if refused, ok := errors.AsType[*remote.LoginError](err); ok {
		return fmt.Sprintf("`docker login %s` may help", refused.Host)
	}
	if errors.Is(err, converter.ErrNothingToRepair) {
		return "see `converter verify`"
	}
	if errors.Is(err, kubo.ErrUnauthorized) {
		return "--ipfs-api-token gives the token of --ipfs-api, and --from-token that of --from"
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fullDiskHint(err)
	}
	if failed, ok := errors.AsType[*fs.PathError](err); ok && isInTempDir(failed.Path) {
		return "TMPDIR chooses another directory for temporary files"
	}
	return sourceHint(err)
}

// sourceHint returns what helps with images that cannot be stored as they are.
func sourceHint(err error) string {
	if _, ok := errors.AsType[*converter.NameError](err); ok {
		return "give it another name and tag with --name and --tag"
	}
	if _, ok := errors.AsType[*converter.SeveralImagesError](err); ok {
		return "choose one of them in the source, as in oci:DIRECTORY:TAG or docker-archive:FILE:NAME:TAG, by its digest, or by its position, @0 for the first"
	}
	if _, ok := errors.AsType[*converter.ClashError](err); ok {
		return "choose one of them by its position, as in docker-archive:FILE:@0, and give it another name with --name and --tag"
	}
	if p, ok := errors.AsType[*platform.Error](err); ok && p.Ambiguous {
		return fmt.Sprintf("name the version of the operating system as well, as in --platform '%s'", p.There[0])
	}
	return ""
}

func fullDiskHint(err error) string {
	failed, ok := errors.AsType[*fs.PathError](err)
	if ok && isInTempDir(failed.Path) {
		return "free some space there, or choose another directory with TMPDIR"
	}
	return "free some space there, with `converter gc` if it is a store, or write to another place"
}

func isInTempDir(path string) bool {
	rest, err := filepath.Rel(destination.TempDir(), path)
	return err == nil && (rest == "." || strings.HasPrefix(rest, "converter-"))
}
