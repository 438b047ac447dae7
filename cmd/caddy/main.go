// Command caddy is Caddy with its standard modules and ipfs_registry, as xcaddy
// would build it.
package main

import (
	_ "time/tzdata"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/seed-9e24ebb9/caddy-ipfs-registry"
)

func main() { caddycmd.Main() }
