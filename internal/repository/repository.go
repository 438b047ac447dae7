// Package repository keeps the repositories of a store's own root: what clients push.
//
// A repository is a directory of the own root, in format 1: see package layout. It has no
// alias latest, since nothing tells an alias from a tag, and a tag that was pushed must not
// vanish. So every name in its manifests that is not a digest is a tag.
//
// The blobs in the directory of a repository are those that its manifests name. A blob is
// uploaded or mounted before there is such a manifest, and is pending until then: only this
// repository has it, and after a day without a manifest it is removed. So the address of a
// state depends on the manifests in it alone.
//
// Bytes go to disk as they come, and never change afterwards. A change of the root is
// complete and durable when the method that makes it returns.
package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/memo"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// A Config limits what clients may push.
type Config struct {
	// MaxBlob is how many bytes a blob may have. Zero stands for no limit.
	MaxBlob int64

	// MaxUploads is how many uploads there may be at once, in all repositories, begun
	// and neither finished nor cancelled. Zero stands for DefaultUploads.
	MaxUploads int
}

// DefaultUploads is the default of Config.MaxUploads.
const DefaultUploads = 1024

// Repositories are the repositories of a store's own root. Their methods may be called
// concurrently, and several processes may use the same store.
type Repositories struct {
	store  *store.Store
	config Config
	sums   sums
	leads  *memo.Cache[cid.Cid, []digest.Digest] // the blobs that manifests name
}

// New returns the repositories of the own root of s. It reads and writes nothing.
func New(s *store.Store, c Config) *Repositories {
	if c.MaxUploads == 0 {
		c.MaxUploads = DefaultUploads
	}
	return &Repositories{store: s, config: c, leads: newLeads()}
}

// Root returns the root that has the repositories.
func (r *Repositories) Root() *store.Root { return r.store.Root() }

// A Repository is one repository on behalf of one user. It need not exist: the first
// manifest makes it, and deleting the last one removes it.
type Repository struct {
	repositories *Repositories
	name, user   string
}

// Repository returns the repository with a name. The user is the one that the log of the
// root names, and may be empty. The error is a *NameError.
func (r *Repositories) Repository(name, user string) (*Repository, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return &Repository{r, name, user}, nil
}

// Name returns the name.
func (r *Repository) Name() string { return r.name }

// A NameError says that no repository of the own root can have a name.
type NameError struct {
	Name     string
	Reserved bool // the name is valid, and means something else
	Err      error
}

func (e *NameError) Error() string { return e.Err.Error() }

func (e *NameError) Unwrap() error { return e.Err }

// reserved are first components of paths that a registry answers otherwise.
var reserved = []string{"v2", "ipfs", "ipns", "routing"}

// CheckName returns a *NameError for a name that a repository cannot have: one that is not
// valid, one that clients would not find, because it begins with an address or with a
// reserved component, or one that has no room below an address.
func CheckName(name string) error {
	if len(name) > layout.MaxImageName {
		return &NameError{Name: name, Err: fmt.Errorf("the name has %d characters, but at most %d fit below an address on IPFS", len(name), layout.MaxImageName)}
	}
	if err := layout.CheckName(name); err != nil {
		return &NameError{Name: name, Err: err}
	}
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(reserved, first) {
		return &NameError{name, true, fmt.Errorf("the name %q begins with %q, which is reserved: choose another name", name, first)}
	}
	if isAddress(first) {
		return &NameError{name, true, fmt.Errorf("the name %q begins with an address on IPFS, whose content never changes: choose another name", name)}
	}
	return nil
}

// isAddress reports whether a component is an address on IPFS, misspelt ones included.
func isAddress(component string) bool {
	if _, err := cid.Decode(component); err == nil {
		return true
	}
	_, err := cidname.Parse(component)
	_, misspelt := errors.AsType[*cidname.SpellingError](err)
	return err == nil || misspelt
}

// Address returns the root of a directory that holds this repository alone, at its name. If
// the repository does not exist, the error is ErrNameUnknown.
func (r *Repository) Address(ctx context.Context) (cid.Cid, error) {
	c, err := r.root().Alone(ctx, r.name)
	if errors.Is(err, store.ErrLacking) {
		err = ErrNameUnknown
	}
	return c, err
}

func (r *Repository) root() *store.Root { return r.repositories.store.Root() }

// RemoveStale removes uploads that were not continued for a day, and blobs that were
// uploaded or mounted a day ago and that no manifest names. It is to be called at times.
func (r *Repositories) RemoveStale(ctx context.Context) error {
	return r.store.Root().RemoveStale(ctx)
}
