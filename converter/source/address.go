package source

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/remote"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// AddressOf asks the registry of an image for the address on IPFS of the image's repository:
// the root of a directory that has the image, at its name. It checks that the registry has
// the same manifest at that address. The credentials are those that docker and podman keep.
// If verify is false, it does not verify the registry's TLS certificate, and may use HTTP.
func AddressOf(ctx context.Context, image string, verify bool) (cid.Cid, error) {
	named, err := registrySource{image: image, verify: verify}.parse()
	if err != nil {
		return cid.Undef, fmt.Errorf("image name %q: %w", image, err)
	}
	r, err := remote.DialRegistry(ctx, named.Context(), verify, remote.Patience)
	if err != nil {
		return cid.Undef, err
	}
	data, path, err := r.Manifest(ctx, named.Identifier())
	if manifest.IsMissing(err) {
		return cid.Undef, r.NoSuchImage(ctx, named)
	}
	if err != nil {
		return cid.Undef, err
	}
	text, found := strings.CutPrefix(path, "/ipfs/")
	if !found {
		return cid.Undef, fmt.Errorf("%s sends no address on IPFS for %s: only registries of this project do, for images in their own root", r, image)
	}
	root, err := cidname.ParseAny(text)
	if err != nil {
		return cid.Undef, fmt.Errorf("%s sends the address %.100q for %s: %w", r, text, image, err)
	}
	address, err := cidname.Format(root)
	if err != nil {
		return cid.Undef, fmt.Errorf("%s sends the address %s for %s: %w", r, root, image, err)
	}
	at := fmt.Sprintf("%s/%s/%s@%s", named.Context().RegistryStr(), address, named.Context().RepositoryStr(), digest.FromBytes(data))
	if err := mustHave(ctx, at, verify, data); err != nil {
		return cid.Undef, fmt.Errorf("%s sends an address for %s that does not lead to the image: %w", r, image, err)
	}
	return root, nil
}

// mustHave returns an error unless the registry of an image has the given manifest for it.
func mustHave(ctx context.Context, image string, verify bool, want []byte) error {
	named, err := registrySource{image: image, verify: verify}.parse()
	if err != nil {
		return err
	}
	r, err := remote.DialRegistry(ctx, named.Context(), verify, remote.Patience)
	if err != nil {
		return err
	}
	got, _, err := r.Manifest(ctx, named.Identifier())
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s has another manifest", image)
	}
	return err
}
