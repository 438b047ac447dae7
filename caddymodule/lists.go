package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/ipfs/go-cid"
	"go.uber.org/zap"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/denylist"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
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
// so. It is asked before anything is looked for, with what the request says, and
// then by whoever finds the file, before a byte of it goes out: with the CIDs
// that the path led through, its own last, or with its own alone. What is denied
// may be linked from any root.
func (h *Handler) admit(q request, resolved ...cid.Cid) error {
	if h.lists == nil || q.kind == kindBase {
		return nil
	}
	for _, p := range q.paths() {
		if err := h.lists.Check(q.image.Root, p, resolved...); err != nil {
			return h.refuse(q, err)
		}
	}
	return nil
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
	}
	return []string{q.image.Name}
}

// refuse logs which rule it is, which is the business of whoever keeps the list
// and not of the client.
func (h *Handler) refuse(q request, err error) error {
	answer := &registryError{codeNotAllowed, "this image is " + err.Error()}
	rule := zap.Skip()
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
