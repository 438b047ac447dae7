package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI is the part of Caddy's admin API below /ipfs_registry/. It covers all running
// handlers, and is documented in docs/operations.md.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.ipfs_registry",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes implements caddy.AdminRouter.
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/ipfs_registry/images", Handler: onlyMethod(http.MethodGet, listImages)},
		{Pattern: "/ipfs_registry/images/{cid}", Handler: onlyMethod(http.MethodDelete, purgeImage)},
		{Pattern: "/ipfs_registry/root", Handler: onlyMethod(http.MethodGet, listStates)},
		{Pattern: "/ipfs_registry/gateways", Handler: onlyMethod(http.MethodGet, listGateways)},
		{Pattern: "/ipfs_registry/lists/reload", Handler: onlyMethod(http.MethodPost, reloadLists)},
	}
}

// onlyMethod returns a handler for one method, which answers with the JSON of a value.
func onlyMethod(method string, endpoint func(*http.Request) (any, error)) caddy.AdminHandler {
	return caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != method {
			w.Header().Set("Allow", method)
			return apiError(http.StatusMethodNotAllowed, errors.New("method not allowed"))
		}
		value, err := endpoint(r)
		if err != nil {
			return err
		}
		var body bytes.Buffer
		if err := json.NewEncoder(&body).Encode(value); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, err = body.WriteTo(w)
		return err
	})
}

func apiError(status int, err error) error { return caddy.APIError{HTTPStatus: status, Err: err} }

// A storedImage is the record of one root in a store, or the error of reading it.
type storedImage struct {
	Store string `json:"store"`
	*store.Record
	Error string `json:"error,omitempty"`
}

func listImages(r *http.Request) (any, error) {
	images := []storedImage{}
	for _, s := range runningStores() {
		records, err := s.Images(r.Context())
		for _, record := range records {
			images = append(images, storedImage{Store: s.Dir(), Record: &record})
		}
		if err != nil {
			images = append(images, storedImage{Store: s.Dir(), Error: err.Error()})
		}
	}
	return images, nil
}

// A purge is what was removed with an image.
type purge struct {
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`
	Memory int   `json:"memory"` // manifests that were remembered
}

// purgeImage removes an image from memory and from all stores, with the files that only
// this image needs.
func purgeImage(r *http.Request) (any, error) {
	root, err := cidname.ParseAny(r.PathValue("cid"))
	if err != nil {
		return nil, apiError(http.StatusBadRequest, err)
	}
	var gone purge
	found := false
	for _, i := range runningInstances() {
		if i.cache != nil {
			i.cache.filler.Drop(root)
		}
	}
	for _, s := range runningStores() {
		had, err := gone.removeFrom(r.Context(), s, root)
		if err != nil {
			return nil, fmt.Errorf("purging %s: %w", s.Dir(), err)
		}
		found = found || had
	}
	for _, i := range runningInstances() {
		gone.Memory += i.library.Forget(root)
	}
	if !found && gone.Memory == 0 {
		return nil, apiError(http.StatusNotFound, fmt.Errorf("no image %s in a store or in memory", root))
	}
	return gone, nil
}

// removeFrom removes an image from a store, and reports whether the store had any of it.
func (p *purge) removeFrom(ctx context.Context, s *store.Store, root cid.Cid) (had bool, err error) {
	forgotten, err := s.Forget(ctx, root)
	p.count(forgotten)
	if err != nil {
		return false, fmt.Errorf("removing cached files: %w", err)
	}
	switch err := s.Remove(ctx, root); {
	case errors.Is(err, fs.ErrNotExist):
		return forgotten.Files > 0, nil
	case err != nil:
		return false, fmt.Errorf("removing the record: %w", err)
	}
	collected, err := s.Collect(ctx, false)
	p.count(collected)
	if err != nil {
		return true, fmt.Errorf("the record is removed, but its files are not; run converter gc: %w", err)
	}
	return true, nil
}

func (p *purge) count(c store.Collected) {
	p.Files += c.Files
	p.Bytes += c.Bytes
}

// A gatewayState is the state of a gateway in one handler.
type gatewayState struct {
	Gateway string `json:"gateway"`
	Group   int    `json:"group"`
	Healthy bool   `json:"healthy"`

	// PutBack is the time until which a gateway that failed is asked last.
	PutBack time.Time `json:"put_back_until,omitzero"`

	// Away reports whether the last attempt got no response.
	Away bool `json:"away,omitempty"`

	// Silent reports whether it responds to nothing, and so gets less time.
	Silent bool `json:"silent,omitempty"`

	// Refusing reports whether it seems to refuse everything.
	Refusing bool `json:"refusing,omitempty"`

	// Busy is the end of the pause that it asked for.
	Busy time.Time `json:"busy_until,omitzero"`

	// Refuses lists the forms of content that it is known not to serve.
	Refuses []string `json:"refuses,omitempty"`
}

func listGateways(*http.Request) (any, error) {
	states := []gatewayState{}
	for _, i := range runningInstances() {
		if i.pool == nil {
			continue
		}
		for _, s := range i.pool.States() {
			state := gatewayState{Gateway: s.Gateway, Group: s.Group, Healthy: isHealthy(s), Away: s.Away, Silent: s.Silent, Refusing: s.Refusing}
			if isPutBack(s) {
				state.PutBack = s.PutBack.UTC()
			}
			if time.Now().Before(s.Busy) {
				state.Busy = s.Busy.UTC()
			}
			for _, f := range s.Refuses {
				state.Refuses = append(state.Refuses, f.String())
			}
			states = append(states, state)
		}
	}
	return states, nil
}

// A listState describes the rules in force of one file.
type listState struct {
	List  string `json:"list"`
	File  string `json:"file"`
	Rules int    `json:"rules"`
}

// reloadLists reads all lists again. If a list cannot be read, its old rules stay in
// force, and the error names it.
func reloadLists(*http.Request) (any, error) {
	lists := []listState{}
	var failed []error
	for _, i := range runningInstances() {
		if err := i.lists.Reload(); err != nil {
			failed = append(failed, err)
		}
		for _, f := range i.lists.Files() {
			lists = append(lists, listState{listName(f.Allow), f.Name, f.Rules})
		}
	}
	if err := errors.Join(failed...); err != nil {
		return nil, fmt.Errorf("the old rules of these lists stay in force: %w", err)
	}
	return lists, nil
}

// Interface guard
var _ caddy.AdminRouter = adminAPI{}
