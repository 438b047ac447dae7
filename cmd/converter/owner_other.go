//go:build !unix

package main

import "github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"

// becomeOwner does nothing: on these systems no user stands above the others.
func becomeOwner(*store.Store, bool) error { return nil }
