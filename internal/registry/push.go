package registry

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/repository"
)

// Push says who may push to the store's own root, and what.
type Push struct {
	To *repository.Repositories

	// Anonymous lets clients push who are not authenticated.
	Anonymous bool

	// Mount has patterns of repositories whose blobs may be mounted into every other one:
	// a name, <name>/* for all names below it, or *.
	Mount []string

	// MaxBlob is how many bytes a blob may have, 0 for any number.
	MaxBlob int64

	// Turns has a value for each request that is sending bytes of a blob. Its capacity
	// is how many may do so at once.
	Turns chan struct{}
}

// DefaultTurns is how many requests may send bytes of blobs at once by default.
const DefaultTurns = 128

// turnTakes is how long a request waits for others to end before it may send bytes.
const turnTakes = 30 * time.Second

// CheckPattern returns an error if s is not a pattern of Push.Mount.
func CheckPattern(s string) error {
	if s == "*" {
		return nil
	}
	return repository.CheckName(strings.TrimSuffix(s, "/*"))
}

// matches reports whether a repository is one that a pattern stands for.
func matches(pattern, repository string) bool {
	above, all := strings.CutSuffix(pattern, "*")
	if all {
		return strings.HasPrefix(repository, above)
	}
	return repository == pattern
}

// A Pushed is a manifest that a client has pushed.
type Pushed struct {
	Repository string
	Tags       []string
	Digest     digest.Digest
	MediaType  string
	Address    cid.Cid // of a directory that holds this repository alone
	State      cid.Cid // the own root, with the manifest
	User       string  // empty if it is not known
}

// A verb does what a method asks for.
type verb func(*Registry, http.ResponseWriter, Request, request, *repository.Repository) error

// verbsOf returns the verbs for the requested kind of thing, by method. GET and HEAD of
// what can be pulled are not among them.
func verbsOf(k kind) map[string]verb {
	switch k {
	case kindUploads:
		return map[string]verb{http.MethodPost: (*Registry).beginUpload}
	case kindUpload:
		return map[string]verb{
			http.MethodGet:    (*Registry).tellUpload,
			http.MethodPatch:  inTurn((*Registry).continueUpload),
			http.MethodPut:    inTurn((*Registry).finishUpload),
			http.MethodDelete: (*Registry).cancelUpload,
		}
	case kindManifest:
		return map[string]verb{http.MethodPut: (*Registry).putManifest, http.MethodDelete: (*Registry).deleteManifest}
	case kindBlob:
		return map[string]verb{http.MethodDelete: (*Registry).deleteBlob}
	}
	return nil
}

// isPull reports whether a request is answered without any regard to push.
func isPull(method string, k kind) bool {
	return (method == http.MethodGet || method == http.MethodHead) && k != kindUpload && k != kindUploads
}

// servePush answers a request that changes something, or is about an upload.
func (g *Registry) servePush(w http.ResponseWriter, r Request, q request) error {
	if g.Push == nil {
		return &protocolError{codeNotOffered, "nothing can be pushed to this registry"}
	}
	verbs := verbsOf(q.kind)
	do, ok := verbs[r.Method]
	if !ok {
		return methodNotAllowed(w, q.kind, verbs)
	}
	repo, err := g.writable(r, q)
	if err != nil {
		refuseBody(w, r)
		return err
	}
	return do(g, w, r, q, repo)
}

// methodNotAllowed names the methods that are allowed.
func methodNotAllowed(w http.ResponseWriter, k kind, verbs map[string]verb) error {
	var allowed []string
	if isPull(http.MethodGet, k) {
		allowed = []string{http.MethodGet, http.MethodHead}
	}
	for method := range verbs {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return &protocolError{codeUnsupported, "this method has no meaning here: use " + strings.Join(allowed, ", ")}
}

// otherSites tells what browsers send on behalf of other sites.
var otherSites = http.NewCrossOriginProtection()

// beginsWithAddress is the answer to a push to a name that begins with an address.
var beginsWithAddress = &protocolError{codeNotAllowed, "names that begin with an address on IPFS cannot be pushed to: choose another name"}

// refuseName returns the answer to a name that cannot be pulled, for the reason err. The
// answer to a push to an address is the same for every spelling of the address, since another
// spelling would not help.
func refuseName(method string, err error) error {
	if _, ok := errors.AsType[*addressError](err); ok && method != http.MethodGet && method != http.MethodHead {
		return beginsWithAddress
	}
	return err
}

// writable returns the requested repository if the client may push to it, or the answer
// that says why not.
func (g *Registry) writable(r Request, q request) (*repository.Repository, error) {
	if err := otherSites.Check(r.Request); err != nil {
		return nil, &protocolError{codeNotAllowed, "a web page of another site sent this request"}
	}
	if r.User == "" && !g.Push.Anonymous {
		g.noUser.Do(func() {
			g.Logger.Warn("a client tried to push, and nothing authenticates clients before 'ipfs_registry': 'basic_auth' does, or something like it", q.Fields()...)
		})
		return nil, &protocolError{codeUnauthorized, "log in to push to this registry"}
	}
	if !q.Own {
		return nil, beginsWithAddress
	}
	repo, err := g.Push.To.Repository(q.Image.Name, r.User)
	if invalid, ok := errors.AsType[*repository.NameError](err); ok {
		if invalid.Reserved {
			return nil, &protocolError{codeNotAllowed, err.Error()}
		}
		return nil, &protocolError{codeNameInvalid, err.Error()}
	}
	return repo, err
}

// inTurn returns a verb that waits until the client may send bytes of a blob, and then calls
// do.
func inTurn(do verb) verb {
	return func(g *Registry, w http.ResponseWriter, r Request, q request, repo *repository.Repository) error {
		leave, err := g.takeTurn(r, q)
		if err != nil {
			return err
		}
		defer leave()
		return do(g, w, r, q, repo)
	}
}

// takeTurn waits until the client may send bytes of a blob. The caller must call leave
// when they have come.
func (g *Registry) takeTurn(r Request, q request) (leave func(), err error) {
	leave = func() { <-g.Push.Turns }
	select {
	case g.Push.Turns <- struct{}{}:
		return leave, nil
	default:
	}
	timer := time.NewTimer(turnTakes)
	defer timer.Stop()
	select {
	case g.Push.Turns <- struct{}{}:
		return leave, nil
	case <-r.Context().Done():
		return nil, g.answerToPush(r, q, r.Context().Err())
	case <-timer.C:
		return nil, tooManyUploads(fmt.Errorf("%d requests are sending blobs", cap(g.Push.Turns)))
	}
}
