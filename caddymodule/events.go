package caddymodule

import (
	"errors"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/names"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/trustless"
)

// eventVerificationFailed is the event that a gateway's answer was not what it
// had to be.
const eventVerificationFailed = "ipfs_registry.verification_failed"

// isFalse reports whether an attempt failed since the answer was not what its
// CID, its digest or its signature says.
func isFalse(err error) bool {
	return errors.Is(err, trustless.ErrMismatch) || errors.Is(err, names.ErrForged)
}

func (h *Handler) emitVerificationFailed(gateway, asked string, err error) {
	data := map[string]any{"gateway": gateway, "error": err.Error()}
	namespace, root, path := splitPath(asked)
	if namespace == "ipfs" {
		data["cid"], data["path"] = root, path
	} else {
		data["ipns"] = root
	}
	h.events.Emit(h.ctx, eventVerificationFailed, data)
}
