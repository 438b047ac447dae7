package converter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

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
	return &toKubo{u, token, tmp, kuboStall, kuboPin, logf}, nil
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
func (d *toKubo) Close() error    { return os.RemoveAll(d.tmp) }

// Commit imports and pins the tree in one request. Kubo holds its pin lock for
// as long as that takes, so its garbage collector cannot take blocks of a DAG
// that is not pinned yet.
func (d *toKubo) Commit(ctx context.Context, t *Tree) error {
	if err := d.importTree(ctx, t); err != nil {
		return fmt.Errorf("adding to the IPFS node at %s: %w", d.api.Redacted(), err)
	}
	query := url.Values{"arg": {t.Root.CID.String()}, "name": {pinName(t.Images)}}
	ctx, cancel := context.WithTimeoutCause(ctx, d.pin, errStalled)
	defer cancel()
	if err := d.call(ctx, "pin/add", query, "", nil, drain); err != nil {
		d.logf("the image is pinned, and its pin could not be named: %v", err)
	}
	return nil
}

func (d *toKubo) importTree(ctx context.Context, t *Tree) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(d.stall, func() { cancel(errStalled) })
	defer stalled.Stop()

	pr, pw := io.Pipe()
	form := multipart.NewWriter(progressWriter{pw, func() { stalled.Reset(d.stall) }})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		err := writeImport(ctx, form, t)
		stalled.Reset(d.pin)
		pw.CloseWithError(err) // and so call fails with it
	}()
	var answer importAnswer
	query := url.Values{"pin-roots": {"true"}}
	err := d.call(ctx, "dag/import", query, form.FormDataContentType(), pr, answer.read)
	pr.Close() // what the node did not want to hear is not sent
	<-sent
	if err != nil {
		return err
	}
	return answer.check(t.Root.CID)
}

var errStalled = errors.New("it neither takes what is sent to it nor answers")

// writeImport writes two CARs: all blocks under no root, and a root with no
// blocks, which is pinned when everything was imported. So blocks can be sent
// before the root is known.
func writeImport(ctx context.Context, form *multipart.Writer, t *Tree) error {
	part, err := form.CreateFormFile("file", "blocks.car")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(part, 1<<20)
	car, err := unixfs.NewCARWriter(w)
	if err != nil {
		return err
	}
	if err := t.WriteBlocks(ctx, car.Put); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	part, err = form.CreateFormFile("file", "root.car")
	if err != nil {
		return err
	}
	if _, err := unixfs.NewCARWriter(part, t.Root.CID); err != nil {
		return err
	}
	return form.Close()
}

// importAnswer is what dag/import says: of each root, whether it was pinned.
type importAnswer struct{ roots []importedRoot }

type importedRoot struct {
	Cid struct {
		Link string `json:"/"`
	}
	PinErrorMsg string
}

func (a *importAnswer) read(r io.Reader) error {
	decoder := json.NewDecoder(r)
	for {
		var line struct{ Root *importedRoot }
		err := decoder.Decode(&line)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading its answer: %w", err)
		}
		if line.Root != nil {
			a.roots = append(a.roots, *line.Root)
		}
	}
}

// check looks for our root among those pinned, since an answer of 200 promises
// nothing.
func (a *importAnswer) check(root cid.Cid) error {
	for _, r := range a.roots {
		c, err := cid.Decode(r.Cid.Link)
		if err != nil || !c.Equals(root) {
			continue
		}
		if r.PinErrorMsg != "" {
			return fmt.Errorf("pinning %s: %s", root, r.PinErrorMsg)
		}
		return nil
	}
	return fmt.Errorf("it does not say that %s is pinned", root)
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

// progressWriter tells of every write that came through.
type progressWriter struct {
	io.Writer
	progress func()
}

func (w progressWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.progress()
	return n, err
}
