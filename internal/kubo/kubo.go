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
	"net"
	"net/http"
	"net/url"
)

// maxError is how many bytes are read of an error message.
const maxError = 64 << 10

// ErrUnauthorized is the error of a node that wants another token, or one.
var ErrUnauthorized = errors.New("the token is not one of the node's API.Authorizations")

// ErrNoAnswer is the error of a node to which no connection can be made.
var ErrNoAnswer = errors.New("nothing answers there")

// A Node is a Kubo node, called through its RPC API.
type Node struct {
	api    address
	token  string
	client *http.Client
}

// NewNode returns the node whose API has the given address, with a bearer token if the
// node wants one. The address is a URL, host:port, a multiaddr, or a Unix socket.
func NewNode(api, token string) (*Node, error) {
	a, err := parseAddress(api)
	if err != nil {
		return nil, err
	}
	n := &Node{a, token, http.DefaultClient}
	if a.socket != "" {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", a.socket)
		}
		n.client = &http.Client{Transport: t}
	}
	return n, nil
}

// String returns the address of the API, without a password.
func (n *Node) String() string { return n.api.String() }

// Call sends a command and returns its answer. If the node reports an error after its
// answer began, reading the answer ends with that error. body may be nil; contentType
// is its type. The error is the context's cause if the context is done.
func (n *Node) Call(ctx context.Context, command string, query url.Values, contentType string, body io.Reader) (io.ReadCloser, error) {
	u := n.api.url.JoinPath("api/v0", command)
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
	resp, err := n.client.Do(req)
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

// callError returns the context's cause if the context is done. Of other errors it
// drops the URL, which may have a password.
func callError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
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
		return fmt.Errorf("it answers %s: %w", resp.Status, ErrUnauthorized)
	case http.StatusNotFound:
		return fmt.Errorf("it answers %s, as the RPC API of a Kubo node does not", resp.Status)
	}
	return fmt.Errorf("it answers %s", resp.Status)
}
