package converter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

const (
	// kuboStall is how long Kubo may take none of what is sent to it.
	kuboStall = time.Minute

	// kuboPin is how long Kubo may take to answer when it has everything. It
	// walks the whole DAG then.
	kuboPin = 10 * time.Minute

	kuboMaxAnswer = 1 << 20 // bytes
	kuboMaxName   = 255     // bytes of a pin's name
)

// toKubo puts images into a Kubo node over its RPC API.
// https://docs.ipfs.tech/reference/kubo/rpc/
type toKubo struct {
	api   *url.URL
	token string
	tmp   string
	stall time.Duration // how long nothing may be taken
	pin   time.Duration // how long the answer may take
	logf  func(string, ...any)

	mu    sync.Mutex
	early *kuboImport // what leaves are sent to before the tree is known
}

// ToKubo returns a destination in the Kubo node whose RPC API is at the given
// URL, with a bearer token where the node wants one. The root is pinned.
func ToKubo(api, token string, logf func(format string, args ...any)) (Destination, error) {
	u, err := parseAPI(api)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "converter-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary directory: %w", err)
	}
	return &toKubo{api: u, token: token, tmp: tmp, stall: kuboStall, pin: kuboPin, logf: logf}, nil
}

func parseAPI(api string) (*url.URL, error) {
	if !strings.Contains(api, "://") {
		api = "http://" + api
	}
	u, err := url.Parse(api)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of an IPFS RPC API: http://127.0.0.1:5001 is one", api)
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v0") // as Kubo prints it
	return u, nil
}

func (d *toKubo) TempDir() string { return d.tmp }

func (d *toKubo) Close() error {
	if d.early != nil {
		d.early.abort(errUnused)
	}
	return os.RemoveAll(d.tmp)
}

var errUnused = errors.New("the conversion failed")

// putEarly sends a leaf while layers still compress. What it is sent for is not
// certain yet: blocks that no root leads to in the end are not pinned, and the
// node's garbage collector takes them.
func (d *toKubo) putEarly(ctx context.Context, leaf unixfs.Block) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.early == nil {
		d.early = d.newImport(ctx)
	}
	err := d.early.put(leaf)
	if errors.Is(err, errIdle) { // all is sent when the tree is known
		return nil
	}
	return d.failed(err)
}

// Commit imports and pins the tree in one request: what is left of it, or all.
func (d *toKubo) Commit(ctx context.Context, t *Tree) error {
	err := errIdle
	if d.early != nil {
		err = d.early.finish(ctx, t)
	}
	if errors.Is(err, errIdle) {
		err = d.newImport(ctx).finish(ctx, t)
	}
	if err != nil {
		return d.failed(err)
	}
	query := url.Values{"arg": {t.Root.CID.String()}, "name": {pinName(t.Images)}}
	ctx, cancel := context.WithTimeoutCause(ctx, d.pin, errStalled)
	defer cancel()
	if err := d.call(ctx, "pin/add", query, "", nil, drain); err != nil {
		d.logf("the image is pinned, and its pin could not be named: %v", err)
	}
	return nil
}

func (d *toKubo) failed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("adding to the IPFS node at %s: %w", d.api.Redacted(), err)
}

// call sends a request to the API and has its answer read. An error that the
// node reports after its answer began is an error of the call.
func (d *toKubo) call(ctx context.Context, command string, query url.Values, contentType string, body io.Reader, read func(io.Reader) error) error {
	u := d.api.JoinPath("api/v0", command)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return callError(ctx, err)
	}
	defer resp.Body.Close()
	limited := io.LimitReader(resp.Body, kuboMaxAnswer)
	if resp.StatusCode != http.StatusOK {
		return statusError(resp, limited)
	}
	if err := read(limited); err != nil {
		return callError(ctx, err)
	}
	if late := resp.Trailer.Get("X-Stream-Error"); late != "" {
		return errors.New(late)
	}
	return nil
}

// callError prefers the reason for which we cancelled, and drops the URL, which
// may hold a password.
func callError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func statusError(resp *http.Response, body io.Reader) error {
	text, _ := io.ReadAll(body)
	var message struct{ Message string }
	if json.Unmarshal(text, &message) == nil && message.Message != "" {
		return errors.New(message.Message)
	}
	switch resp.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		return fmt.Errorf("it answers %s: check --ipfs-api-token and the node's API.Authorizations", resp.Status)
	case http.StatusNotFound:
		return fmt.Errorf("it answers %s: is that the RPC API of a Kubo node?", resp.Status)
	}
	return fmt.Errorf("it answers %s", resp.Status)
}

func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// pinName is how `ipfs pin ls --names` shows the images.
func pinName(images []Image) string {
	names := make([]string, len(images))
	for i, img := range images {
		names[i] = ref{img.Name, img.Tag}.String()
		if img.Tag == "" {
			names[i] = img.Digest.String()
		}
	}
	name := strings.Join(names, " ")
	return name[:min(len(name), kuboMaxName)]
}
