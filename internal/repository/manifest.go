package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"mime"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
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
	n, err := m.parse()
	if err != nil {
		return Put{}, err
	}
	p := &putting{Repository: r, node: n, tags: m.Tags}
	put := Put{Digest: n.Digest}
	if layout.IsDigest(m.Reference) {
		put.Digest = digest.Digest(m.Reference)
	} else {
		p.tags = append([]string{m.Reference}, m.Tags...)
	}
	p.digests = []digest.Digest{n.Digest}
	if put.Digest != n.Digest {
		p.digests = append(p.digests, put.Digest)
	}
	if n.Subject != nil {
		put.Subject = n.Subject.Digest
	}
	if put.Change, err = r.change(ctx, p.change); err != nil {
		return Put{}, err
	}
	for _, d := range p.pending {
		_ = r.root().Unpend(r.name, d) // or it is pending for another day, which does no harm
	}
	return put, nil
}

// parse reads a manifest. Its digest is a sha256, whatever the reference is.
func (m Manifest) parse() (*manifest.Node, error) {
	if len(m.Data) > layout.MaxManifest {
		return nil, &TooLargeError{"manifest", layout.MaxManifest}
	}
	parsed, err := layout.ParseManifest(m.Data)
	if err != nil {
		return nil, &InvalidError{err}
	}
	if m.MediaType != "" {
		if said, _, err := mime.ParseMediaType(m.MediaType); err != nil || said != parsed.MediaType {
			return nil, &InvalidError{fmt.Errorf("the media type of the request is %.200q, and that of the manifest is %s", m.MediaType, parsed.MediaType)}
		}
	}
	n, err := manifest.Parse(parsed)
	if err != nil {
		return nil, &InvalidError{err}
	}
	return n, m.checkReferences()
}

func (m Manifest) checkReferences() error {
	tags := m.Tags
	if layout.IsDigest(m.Reference) {
		d, err := layout.ParseDigest(m.Reference)
		if err != nil {
			return &InvalidError{err}
		}
		if got := d.Algorithm().FromBytes(m.Data); got != d {
			return &DigestError{d, got}
		}
	} else {
		tags = append([]string{m.Reference}, tags...)
	}
	for _, tag := range tags {
		if err := layout.CheckTag(tag); err != nil {
			return &InvalidError{err}
		}
	}
	return nil
}

// A putting is a manifest on its way into a repository.
type putting struct {
	*Repository
	node    *manifest.Node
	digests []digest.Digest
	tags    []string

	pending []digest.Digest // blobs that were pending before
}

// change puts the manifest into a draft of the root.
func (p *putting) change(ctx context.Context, draft *store.Draft) error {
	changes, err := p.blobs(ctx, draft)
	if err != nil {
		return err
	}
	file, err := draft.AddFile(p.node.Data)
	if err != nil {
		return err
	}
	for _, d := range p.digests {
		changes[layout.ManifestPath(p.name, d.String())] = &file
	}
	references := p.tags
	for _, tag := range p.tags {
		changes[layout.ManifestPath(p.name, tag)] = &file
	}
	if len(references) == 0 {
		references = []string{p.digests[len(p.digests)-1].String()}
	}
	if p.node.Subject != nil {
		path := layout.ReferrersPath(p.name, p.node.Subject.Digest)
		if changes[path], err = editReferrers(ctx, draft, path, func(r manifest.Referrers) { r.Add(p.node) }); err != nil {
			return err
		}
	}
	for _, reference := range references {
		draft.Note(store.Action{What: "push", Name: p.name, Reference: reference, Digest: p.node.Digest, User: p.user})
	}
	return draft.Edit(ctx, changes)
}

// blobs returns the changes by which the pending blobs of the manifest become blobs of the
// repository. The error is a *MissingError if it lacks some.
func (p *putting) blobs(ctx context.Context, draft *store.Draft) (map[string]*unixfs.Node, error) {
	changes := map[string]*unixfs.Node{}
	var missing []digest.Digest
	p.pending = nil
	for _, b := range p.node.Blobs() {
		path := layout.BlobPath(p.name, b.Digest)
		if changes[path] != nil {
			continue
		}
		_, err := draft.Lookup(ctx, path)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		c, err := p.root().Pending(p.name, b.Digest)
		switch {
		case errors.Is(err, store.ErrLacking) && (len(b.URLs) > 0 || manifest.IsForeign(b.MediaType)):
			continue
		case errors.Is(err, store.ErrLacking):
			missing = append(missing, b.Digest)
			continue
		case err != nil:
			return nil, err
		}
		node, err := fileNode(ctx, p.repositories.store, c)
		if err != nil {
			return nil, err
		}
		changes[path] = &node
		p.pending = append(p.pending, b.Digest)
	}
	if len(missing) > 0 {
		return nil, &MissingError{missing}
	}
	return changes, nil
}

// fileNode returns the node of a file that the store has.
func fileNode(ctx context.Context, s *store.Store, c cid.Cid) (unixfs.Node, error) {
	data, err := s.Block(ctx, c)
	if err != nil {
		return unixfs.Node{}, err
	}
	children, _, err := unixfs.Children(unixfs.Block{CID: c, Data: data})
	node := unixfs.Node{CID: c, Size: uint64(len(data))}
	for _, child := range children {
		node.Size += child.Size
	}
	return node, err
}

// editReferrers returns the edited index of referrers at a path, or nil if none are left.
func editReferrers(ctx context.Context, draft *store.Draft, path string, edit func(manifest.Referrers)) (*unixfs.Node, error) {
	referrers := manifest.Referrers{}
	c, err := draft.Lookup(ctx, path)
	if err == nil {
		var data []byte
		if data, err = draft.ReadFile(ctx, c, layout.MaxManifest); err == nil {
			referrers, err = manifest.ParseReferrers(data)
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if edit(referrers); len(referrers) == 0 {
		return nil, nil
	}
	data, err := referrers.Encode()
	if err == nil && len(data) > layout.MaxManifest {
		err = &TooLargeError{"index of referrers", layout.MaxManifest}
	}
	if err != nil {
		return nil, err
	}
	file, err := draft.AddFile(data)
	return &file, err
}

// change makes a change of the root that is about this repository.
func (r *Repository) change(ctx context.Context, change func(context.Context, *store.Draft) error) (Change, error) {
	done, err := r.root().Change(ctx, change)
	if err != nil {
		return Change{}, err
	}
	c := Change{State: done.State.Root, Changed: done.IsNew}
	for _, a := range done.State.Actions {
		c.Address = a.Address
	}
	return c, nil
}
