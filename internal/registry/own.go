package registry

import (
	"context"
	"net/http"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
)

// serveOwnBlob answers with a blob of a repository of the own root. Clients that push see
// those that are pending as well, until a manifest names them.
func (g *Registry) serveOwnBlob(w http.ResponseWriter, r Request, q request) error {
	err := g.serveBlob(w, r, q)
	if g.Push == nil || !isNotFound(err) {
		return err
	}
	repo, invalid := g.Push.To.Repository(q.Image.Name, r.User)
	if invalid != nil { // no repository can have the name
		return err
	}
	f, err := repo.Blob(r.Context(), q.Digest)
	if err != nil {
		return g.answerToPush(r, q, err)
	}
	b := images.StoredBlob(f)
	defer b.Close()
	if err := g.Library.AdmitContent(f.CID); err != nil {
		return g.answerTo(q, err, nil)
	}
	r.from(images.FromStore)
	if err := g.deliver(w, r, q, images.FromStore, b); err != nil {
		return g.answerTo(q, images.Classify(r.Context(), err), blobUnknown(q))
	}
	return nil
}

// newAddresses returns a cache of the addresses of repositories, by their directory in a state
// of the own root. It takes at most a MiB.
func newAddresses() *memo.Cache[layout.Image, cid.Cid] {
	return memo.NewCache(1<<20, func(i layout.Image, c cid.Cid) int { return len(i.Name) + c.ByteLen() })
}

// tellPath tells the client the path of a directory on IPFS that holds the repository alone,
// so that a client that pulls an image by its name can find its address. If there is an error,
// the answer goes without it.
func (g *Registry) tellPath(ctx context.Context, w http.ResponseWriter, q request) {
	c, known := g.addresses.Get(q.Image)
	if !known {
		var err error
		if c, err = g.Root.Own.AloneIn(ctx, q.Image.Root, q.Image.Name); err != nil {
			return
		}
		g.addresses.Add(q.Image, c)
	}
	setPath(w, c)
}

// setPath tells the client a path on IPFS.
func setPath(w http.ResponseWriter, c cid.Cid) { w.Header().Set("X-Ipfs-Path", "/ipfs/"+c.String()) }

// tagged remembers by which digest the manifest of a tag is known. Below one state of the
// root that never changes.
type tagged struct {
	known *memo.Cache[images.Query, digest.Digest]
}

// taggedSize is how many bytes of memory that takes at most.
const taggedSize = 1 << 20

func newTagged() tagged {
	return tagged{memo.NewCache(taggedSize, func(q images.Query, d digest.Digest) int {
		return len(q.Image.Name) + len(q.Reference) + len(d)
	})}
}

// nameOf returns the digest by which the manifest of a tag is known in its repository: a
// client that pushed it by its sha512 gets that back.
func (g *Registry) nameOf(ctx context.Context, q request, m layout.Manifest) digest.Digest {
	if d, ok := g.tagged.known.Get(q.Query); ok {
		return d
	}
	d := m.Digest
	if other := digest.SHA512.FromBytes(m.Data); g.Library.HasManifest(ctx, q.Query, other) {
		d = other
	}
	g.tagged.known.Add(q.Query, d)
	return d
}
