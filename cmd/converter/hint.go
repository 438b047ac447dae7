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
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/verify"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
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
	if damaged, ok := errors.AsType[*store.StateError](err); ok {
		return stateHint(damaged)
	}
	if refused, ok := errors.AsType[*remote.LoginError](err); ok {
		return fmt.Sprintf("`docker login %s` may help", refused.Host)
	}
	if errors.Is(err, converter.ErrNothingToRepair) {
		return "see `converter verify`"
	}
	if errors.Is(err, kubo.ErrNoAnswer) {
		return "start the node, or give its RPC address with --ipfs-api, or --from where it is read"
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
	if file, ok := errors.AsType[*notStoreError](err); ok {
		return fmt.Sprintf("--car %s writes a CAR file, and --from %[1]s reads one", file.path)
	}
	if denied, ok := errors.AsType[*deniedError](err); ok {
		return denied.hint()
	}
	if other, ok := errors.AsType[*origin.NotGatewayError](err); ok {
		return notGatewayHint(other)
	}
	if hint := ownerHint(err); hint != "" {
		return hint
	}
	if hint := inputHint(err); hint != "" {
		return hint
	}
	return sourceHint(err)
}

// stateHint says how to mend or give up a damaged state of a store's own root.
func stateHint(damaged *store.StateError) string {
	if damaged.Current {
		return "no file of any image was removed; add the image again, or go back with `converter rollback 1`"
	}
	return "no file of any image was removed; add the image again, or give up replaced states with `converter gc --keep 0s`"
}

// notGatewayHint says how to read from what was given as a gateway.
func notGatewayHint(other *origin.NotGatewayError) string {
	if other.Is == origin.NodeAPI {
		return "--from " + other.URL + " reads from the node"
	}
	return "`converter docker://HOST/IMAGE` reads an image from a registry"
}

// A deniedError is the error of a command that the user may not give for a store.
type deniedError struct {
	error
	store *store.Store
}

func (e *deniedError) Unwrap() error { return e.error }

func (e *deniedError) hint() string {
	if uid, known := e.store.Owner(); known {
		return fmt.Sprintf("run the same command as the owner of the store, `sudo -u '#%d'`", uid)
	}
	return "run the same command as the owner of the store"
}

// inStore marks an error for want of permission as one of a store.
func inStore(s *store.Store, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &deniedError{err, s}
	}
	return err
}

// inputHint returns what helps with an input that is not an archive of images.
func inputHint(err error) string {
	if wrapped, ok := errors.AsType[*source.WrappedError](err); ok {
		return fmt.Sprintf("unpack it first, `%s | converter`", wrapped.Command)
	}
	if other, ok := errors.AsType[*source.NotImagesError](err); ok && other.Help == "" {
		return "converter reads what `docker save IMAGE` writes"
	}
	if dir, ok := errors.AsType[*source.SkopeoDirError](err); ok {
		return fmt.Sprintf("turn it into an OCI layout, `skopeo copy dir:%s oci:LAYOUT`, and give oci:LAYOUT", dir.Where)
	}
	switch {
	case errors.Is(err, source.ErrText):
		return "write it with `docker save -o FILE IMAGE`, and read it with `converter -i FILE`"
	case errors.Is(err, source.ErrLines):
		return "write it with `docker save -o FILE IMAGE`, and copy it as a binary file"
	case errors.Is(err, car.ErrNotCAR):
		return "`converter -i FILE` reads an archive of images"
	case errors.Is(err, source.ErrSecondArchive):
		return "give archives to converter one at a time"
	case errors.Is(err, remote.ErrSSH):
		return "`docker save IMAGE | converter` takes the same way that docker takes"
	case errors.Is(err, remote.ErrPlainHTTP):
		return "--src-tls-verify=false reads from a registry without TLS"
	}
	return ""
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
