package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// listsInterval is how often lists are looked at. One that has changed is in
// force after twice that.
const listsInterval = 2 * time.Second

// provisionLists reads the deny and allow lists, and goes on looking at them
// for as long as the configuration is in use.
func (h *Handler) provisionLists(ctx caddy.Context) error {
	if len(h.Deny) == 0 && len(h.Allow) == 0 {
		return nil
	}
	for _, files := range [][]string{h.Deny, h.Allow} {
		for i, file := range files {
			var err error
			if files[i], err = caddy.NewReplacer().ReplaceOrErr(file, true, true); err != nil {
				return fmt.Errorf("invalid file '%s': %w", file, err)
			}
		}
	}
	var err error
	if h.lists, err = denylist.Open(h.Deny, h.Allow); err != nil {
		return err
	}
	logger := h.logger
	logger.Info("lists of what may be served are in force", zap.Strings("deny", h.Deny), zap.Strings("allow", h.Allow))
	go h.lists.Watch(ctx, listsInterval, func(file string, rules int, err error) {
		if err != nil {
			logger.Error("list cannot be read, what it said before stays in force", zap.String("file", file), zap.Error(err))
			return
		}
		logger.Info("list has changed", zap.String("file", file), zap.Int("rules", rules))
	})
	return nil
}

// admit returns the answer that refuses what a request is for, if the lists say
// so, before anything is looked for.
func (h *Handler) admit(q request) error {
	if h.lists == nil || q.kind == kindBase {
		return nil
	}
	for _, p := range q.paths() {
		if err := h.lists.Check(q.image.Root, p); err != nil {
			return h.refuse(q, err)
		}
	}
	return nil
}

// admitResolved is admitAt for what is about an image as a whole.
func (h *Handler) admitResolved(ctx context.Context, q request) error {
	switch q.kind {
	case kindBase, kindManifest, kindBlob:
		return nil
	}
	return h.admitImage(ctx, q)
}

// admitImage is admitAt for the directory of an image, if there is one.
func (h *Handler) admitImage(ctx context.Context, q request) error {
	err := h.admitAt(ctx, q, q.image.Place())
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return h.failed(ctx, err, errNoImage)
}

// admitsQuietly is admitImage for whoever only wants to know which images to name.
func (h *Handler) admitsQuietly(ctx context.Context, q request) bool {
	if h.lists == nil {
		return true
	}
	at := q.image.Place()
	trail, err := h.trail(ctx, q, at)
	return err == nil && h.lists.Check(at.Root, at.Path, trail...) == nil
}

// admitAt is admit with where the content is, the CIDs that lead there, and its
// own, since what is denied may be linked from any root. Where they cannot be
// known, nothing is served.
func (h *Handler) admitAt(ctx context.Context, q request, at layout.Place) error {
	if h.lists == nil {
		return nil
	}
	trail, err := h.trail(ctx, q, at)
	if err != nil {
		return err
	}
	p := at.Path
	if !at.Root.Equals(q.image.Root) { // which the image's root leads to by no path
		p, trail = q.paths()[0], append([]cid.Cid{at.Root}, trail...)
	}
	if err := h.lists.Check(q.image.Root, p, trail...); err != nil {
		return h.refuse(q, err)
	}
	return nil
}

// trail returns the CIDs on the way to a place, from wherever the content would
// come from.
func (h *Handler) trail(ctx context.Context, q request, at layout.Place) ([]cid.Cid, error) {
	trail, err := fromStores(h, q, func(s *store.Store) ([]cid.Cid, error) {
		return s.Trail(ctx, at.Root, at.Path)
	})
	if err != nil && h.pool != nil {
		return verified{h, q}.session().Trail(ctx, at.Root, at.Path)
	}
	return trail, err
}

// admitName is admit for the name that an image was asked for by, which the
// lists may have something to say about whatever it stands for.
func (h *Handler) admitName(q request) error {
	for _, p := range q.paths() {
		if err := h.lists.CheckName(q.ipns.String(), p); err != nil {
			return h.refuse(q, err)
		}
	}
	return nil
}

// paths are where in its directory the content may be that the request is for.
func (q request) paths() []string {
	switch q.kind {
	case kindManifest:
		return layout.ManifestPaths(q.image.Name, q.reference)
	case kindBlob:
		return []string{layout.BlobPath(q.image.Name, q.digest)}
	case kindReferrers:
		return []string{layout.ReferrersPath(q.image.Name, q.digest), q.image.Name}
	}
	return []string{q.image.Name}
}

// refuse logs which rule it is, which is the business of whoever keeps the list
// and not of the client.
func (h *Handler) refuse(q request, err error) error {
	answer := &registryError{codeNotAllowed, "this image is " + err.Error()}
	rule := zap.Skip()
	countRefusal(err)
	if denied, ok := errors.AsType[*denylist.Denied](err); ok {
		rule = zap.String("rule", denied.Rule())
		answer.code = codeGone
		if denied.Status == http.StatusUnavailableForLegalReasons {
			answer.code = codeLegal
		}
	}
	if c := h.logger.Check(zap.DebugLevel, "refused"); c != nil {
		c.Write(q.fields(rule, zap.Error(err))...)
	}
	return answer
}

// unmarshalFiles reads the arguments of deny and allow.
func unmarshalFiles(d *caddyfile.Dispenser, files *[]string) error {
	more := d.RemainingArgs()
	if len(more) == 0 {
		return d.ArgErr()
	}
	*files = append(*files, more...)
	return nil
}
