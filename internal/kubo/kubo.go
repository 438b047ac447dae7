// Package kubo calls the RPC API of a Kubo node.
// https://docs.ipfs.tech/reference/kubo/rpc/
//
// Kubo's own client library brings all of Kubo with it, for the few commands
// that matter here.
package kubo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxError is how many bytes are read of an error message.
const maxError = 64 << 10

// A Node is the RPC API of one.
type Node struct {
	api   *url.URL
	token string
}

// NewNode returns the node whose API is at the given URL, with a bearer token
// where it wants one.
func NewNode(api, token string) (*Node, error) {
	if !strings.Contains(api, "://") {
		api = "http://" + api
	}
	u, err := url.Parse(api)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of an IPFS RPC API: http://127.0.0.1:5001 is one", api)
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v0") // as Kubo prints it
	return &Node{u, token}, nil
}

// String returns the API's URL without a password.
func (n *Node) String() string { return n.api.Redacted() }

// Call sends a command and returns its answer, whose end is an error if the node
// reports one after its answer began. body may be nil; contentType is its type.
// An error is the context's cause where that is done.
func (n *Node) Call(ctx context.Context, command string, query url.Values, contentType string, body io.Reader) (io.ReadCloser, error) {
	u := n.api.JoinPath("api/v0", command)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if n.token != "" {
		req.Header.Set("Authorization", "Bearer "+n.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, callError(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, statusError(resp)
	}
	return &answer{ctx, resp}, nil
}

type answer struct {
	ctx  context.Context
	resp *http.Response
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.resp.Body.Read(p)
	if err == nil {
		return n, nil
	}
	if late := a.resp.Trailer.Get("X-Stream-Error"); late != "" {
		return n, errors.New(late)
	}
	if errors.Is(err, io.EOF) {
		return n, io.EOF
	}
	return n, callError(a.ctx, err)
}

func (a *answer) Close() error { return a.resp.Body.Close() }

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

func statusError(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
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
