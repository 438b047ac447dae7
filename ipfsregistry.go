// Package ipfsregistry serves container images that live on IPFS to every tool
// that pulls images.
//
// An image is a directory on IPFS, which `converter` (cmd/converter) makes from
// what `docker save` writes. Its address is its CID, so it is for ever, and the
// same everywhere. A Caddy module, ipfs_registry, answers the registry protocol
// from that directory:
//
//	docker pull localhost:5000/ciq…/nginx
//
// Importing this package plugs the module into Caddy and does nothing else, so
// a Caddy with it is built by:
//
//	xcaddy build --with github.com/seed-9e24ebb9/caddy-ipfs-registry
//
// The module is documented in package caddymodule.
package ipfsregistry

import (
	// Plugs in http.handlers.ipfs_registry, its directive and its command.
	_ "github.com/seed-9e24ebb9/caddy-ipfs-registry/caddymodule"
)
