// Package remote reads images from a Docker daemon and from registries.
//
// It bounds what they send and how long they may be silent, and continues downloads
// whose connection broke. The caller checks all that comes against digests.
package remote

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/alternatives"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ctxio"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// Patience is how long a registry or Docker daemon may send nothing.
const Patience = time.Minute

// ErrSilent is the error for one that has sent nothing for that long.
var ErrSilent = errors.New("it has given nothing for a minute")

// A Registry is one repository of a registry that speaks the distribution
// protocol.
// https://github.com/opencontainers/distribution-spec/blob/main/spec.md
type Registry struct {
	repository name.Repository
	client     *http.Client
	patience   time.Duration
}

// DialRegistry logs in to a repository with the credentials that docker and podman keep.
// If verify is false, the registry need not prove who it is, nor encrypt. A request
// fails with ErrSilent if the registry sends nothing for as long as patience.
func DialRegistry(ctx context.Context, repository name.Repository, verify bool, patience time.Duration) (*Registry, error) {
	r := &Registry{repository: repository, patience: patience}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repository)
	if err != nil {
		return nil, fmt.Errorf("reading the credentials for %s: %w", r, err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // digests are of what is sent
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: !verify}
	context.AfterFunc(ctx, t.CloseIdleConnections)
	retry := transport.NewRetry(t, transport.WithRetryStatusCodes(
		http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout))
	scopes := []string{repository.Scope(transport.PullScope)}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrSilent)
	defer cancel()
	authorized, err := transport.NewWithContext(ctx, repository.Registry, auth, retry, scopes)
	if err != nil {
		return nil, r.failure(ctx, "", err)
	}
	r.client = &http.Client{Transport: authorized}
	return r, nil
}

func (r *Registry) String() string { return "the registry " + r.repository.RegistryStr() }

// Fetch opens a manifest or blob.
func (r *Registry) Fetch(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if layout.IsManifestType(d.MediaType) {
		resp, err := r.get(ctx, "manifests/"+d.Digest.String(), 0)
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	}
	open := func(offset int64) (io.ReadCloser, error) {
		resp, err := r.get(ctx, "blobs/"+d.Digest.String(), offset)
		if err != nil {
			return nil, err
		}
		if offset > 0 && resp.StatusCode != http.StatusPartialContent {
			_, err = io.CopyN(io.Discard, resp.Body, offset)
		}
		return resp.Body, err
	}
	body, err := open(0)
	if err != nil {
		return nil, err
	}
	return &download{ctx: ctx, open: open, body: body, size: d.Size}, nil
}

// Document reads a manifest or list, by its path in the repository.
func (r *Registry) Document(ctx context.Context, path string) ([]byte, error) {
	data, _, err := r.Page(ctx, path)
	return data, err
}

// Page reads one page of a list, and returns the path of the next one, if there is one.
func (r *Registry) Page(ctx context.Context, path string) (data []byte, next string, err error) {
	resp, err := r.get(ctx, path, 0)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if data, err = manifest.ReadDocument(resp.Body); err != nil {
		return nil, "", r.failure(ctx, "", err)
	}
	next, err = r.next(resp)
	return data, next, err
}

// Manifest reads a manifest by its tag or digest. It also returns the path on IPFS in the
// answer's header X-Ipfs-Path, which is empty if there is none.
func (r *Registry) Manifest(ctx context.Context, reference string) (data []byte, path string, err error) {
	resp, err := r.get(ctx, "manifests/"+reference, 0)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if data, err = manifest.ReadDocument(resp.Body); err != nil {
		return nil, "", r.failure(ctx, "", err)
	}
	return data, resp.Header.Get("X-Ipfs-Path"), nil
}

// nextLink matches the link to the next page, and its address.
var nextLink = regexp.MustCompile(`<([^>]*)>[^<]*;\s*rel="?next\b`)

// next returns the path of the next page. It is empty where there is none.
func (r *Registry) next(resp *http.Response) (string, error) {
	link := nextLink.FindStringSubmatch(strings.Join(resp.Header.Values("Link"), ", "))
	if link == nil {
		return "", nil
	}
	u, err := resp.Request.URL.Parse(link[1])
	if err != nil {
		return "", fmt.Errorf("%s: reading the address of the next page of a list: %w", r, err)
	}
	path, inside := strings.CutPrefix(u.EscapedPath(), "/v2/"+r.repository.RepositoryStr()+"/")
	if !inside {
		return "", fmt.Errorf("%s continues a list at %s, which is not in %s", r, u.Redacted(), r.repository.RepositoryStr())
	}
	return path + "?" + u.RawQuery, nil
}

var acceptable = strings.Join([]string{
	v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, layout.DockerManifestList, layout.DockerManifest, layout.OCIArtifact,
}, ", ")

// get requests a path of the repository, from an offset on if the registry supports that.
// The error is a MissingError if the registry does not have it.
func (r *Registry) get(ctx context.Context, path string, offset int64) (*http.Response, error) {
	address := fmt.Sprintf("%s://%s/v2/%s/%s", r.repository.Scheme(), r.repository.RegistryStr(), r.repository.RepositoryStr(), path)
	w := ctxio.NewWait(ctx, r.patience, ErrSilent)
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, address, nil)
	if err != nil {
		w.Cancel()
		return nil, err
	}
	if !strings.HasPrefix(path, "blobs/") {
		req.Header.Set("Accept", acceptable)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	w.Start()
	resp, err := r.client.Do(req)
	w.Stop()
	if err == nil {
		resp.Body = w.Body(resp.Body)
		if err = transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err == nil {
			return resp, nil
		}
		defer resp.Body.Close()
	}
	defer w.Cancel()
	return nil, r.failure(w.Context(), path, err)
}

// failure returns the error for a request for a path that failed.
func (r *Registry) failure(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", r, context.Cause(ctx))
	}
	var answer *transport.Error
	var failed *url.Error
	switch {
	case errors.As(err, &answer):
		return r.refusal(path, answer)
	case errors.As(err, &failed):
		err = failed.Err
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return fmt.Errorf("%s: %w", r, ErrPlainHTTP)
	}
	return fmt.Errorf("%s: %w", r, err)
}

// ErrPlainHTTP is the error of a registry that does not encrypt.
var ErrPlainHTTP = errors.New("it speaks HTTP, and not HTTPS")

func (r *Registry) refusal(path string, answer *transport.Error) error {
	host := r.repository.RegistryStr()
	switch answer.StatusCode {
	case http.StatusNotFound:
		return &manifest.MissingError{What: path, Where: r.String()}
	case http.StatusUnauthorized, http.StatusForbidden:
		return &LoginError{host, fmt.Sprintf("%s refuses access to %s: there may be no such image", r, r.repository.RepositoryStr())}
	case http.StatusTooManyRequests:
		return &LoginError{host, fmt.Sprintf("%s refuses more for now: too many requests", r)}
	}
	said := http.StatusText(answer.StatusCode)
	if len(answer.Errors) > 0 {
		said = answer.Errors[0].Message
	}
	return answered{answer.StatusCode, fmt.Sprintf("%s answers %d: %s", r, answer.StatusCode, said)}
}

// A LoginError is the error of a registry that may give more to a user who has logged
// in.
type LoginError struct {
	Host    string
	message string
}

func (e *LoginError) Error() string { return e.message }

// answered is the error for a status that has no meaning here.
type answered struct {
	status  int
	message string
}

func (a answered) Error() string { return a.message }

// IsUnsupported reports whether an error is one with which registries answer a request
// that they do not support.
func IsUnsupported(err error) bool {
	if manifest.IsMissing(err) {
		return true
	}
	answer, ok := errors.AsType[answered](err)
	return ok && slices.Contains([]int{
		http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
	}, answer.status)
}

// NoSuchImage returns the error for an image that the registry does not have. It names
// the tags that it has.
func (r *Registry) NoSuchImage(ctx context.Context, image name.Reference) error {
	wanted := strings.TrimPrefix(image.Name(), r.repository.RegistryStr()+"/")
	var list struct{ Tags []string }
	data, err := r.Document(ctx, "tags/list")
	if err != nil || json.Unmarshal(data, &list) != nil || len(list.Tags) == 0 {
		return fmt.Errorf("%s has no %s", r, wanted)
	}
	return fmt.Errorf("%s has no %s: there is %s", r, wanted, alternatives.List(list.Tags))
}
