package repository

import (
	"context"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
)

// A Change says what a change of the own root led to.
type Change struct {
	// State is the address of the whole root after the change. It is for operators.
	State cid.Cid

	// Address is the root of a directory that holds this repository alone, at its name:
	// pull <Address>/<name>:<tag>. It is undefined if the repository is gone. It may be
	// pulled while its images are in the root, and as long after as replaced states are
	// kept.
	Address cid.Cid

	// Changed is false if everything was as wanted already, and there is no new state.
	Changed bool
}

// A Manifest is a manifest or index that a client pushes.
type Manifest struct {
	Reference string   // a tag or a digest, sha256 or sha512
	Tags      []string // further tags
	MediaType string   // as the client says; empty if it does not
	Data      []byte   // of at most layout.MaxManifest bytes
}

// A Put says what PutManifest stored.
type Put struct {
	Change
	Digest  digest.Digest // of the manifest: the one in the reference, or else its sha256
	Subject digest.Digest // of the manifest that it refers to; empty if it refers to none
}

// PutManifest stores a manifest under its digest and its tags, and makes the repository if it
// does not exist. The blobs that the manifest names are no longer pending.
//
// The repository must have the config and all layers, except layers with URLs. The manifests
// that an index names, and a subject, may be missing. If there is a subject, the index of its
// referrers names the manifest from now on.
//
// The error may be an *InvalidError, a *TooLargeError, a *DigestError if the reference is the
// digest of something else, or a *MissingError. Nothing is stored then.
func (r *Repository) PutManifest(ctx context.Context, m Manifest) (Put, error) {
	return Put{}, errUnsupported
}

// DeleteTag removes a tag. Its manifest stays, under its digest and other tags. The error is
// ErrNameUnknown or ErrManifestUnknown if there is no such tag.
func (r *Repository) DeleteTag(ctx context.Context, tag string) (Change, error) {
	return Change{}, errUnsupported
}

// DeleteManifest removes a manifest with all of its tags, the blobs that no other manifest of
// the repository names, and the manifest's entry in the index of its subject's referrers. The
// manifests that an index names stay. The error is ErrNameUnknown or ErrManifestUnknown if
// there is no such manifest.
func (r *Repository) DeleteManifest(ctx context.Context, d digest.Digest) (Change, error) {
	return Change{}, errUnsupported
}
