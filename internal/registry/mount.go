package registry

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
)

// mount gives a repository a blob that another one has, or an image that is in the store.
// It reports false if the client has to upload the blob, whatever the reason: the answer
// says nothing about a repository that the client may not mount from.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository
func (g *Registry) mount(r Request, q request, repo *repository.Repository, d digest.Digest, from string) (bool, error) {
	source, err := parseRepository(from, namespaceOf(r.Request, g.Root))
	if err != nil {
		return false, nil
	}
	source.Digest = d
	if !g.mayMount(r.Context(), q, source) {
		return false, nil
	}
	err = repo.Mount(r.Context(), d, source.Image)
	if errors.Is(err, repository.ErrBlobUnknown) || errors.Is(err, repository.ErrNameUnknown) {
		return false, nil
	}
	if err != nil {
		return false, g.answerToPush(r, q, err)
	}
	return true, g.admitBlob(r, q, repo, d)
}

// mayMount reports whether a blob of the source may be mounted into the requested
// repository: from the same first component of the name, from what the configuration
// lists, or from an image in the store that the lists admit.
func (g *Registry) mayMount(ctx context.Context, q, source request) bool {
	switch {
	case source.isNamed():
		return false
	case source.rooted:
		return firstOf(source.Image.Name) == firstOf(q.Image.Name) ||
			slices.ContainsFunc(g.Push.Mount, func(pattern string) bool { return matches(pattern, source.Image.Name) })
	}
	source.Only = images.FromStore
	return g.Library.Blob(ctx, source.Query, func(images.Origin, images.Blob) error { return nil }) == nil
}

func firstOf(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}
