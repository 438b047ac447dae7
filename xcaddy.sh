#!/usr/bin/env bash
# Builds Caddy with the module from this checkout, as users of the module do: with
# xcaddy. The version of Caddy is the one in go.mod.
#
# Usage: xcaddy.sh [OUTPUT]     (default: bin/caddy-xcaddy)
set -euo pipefail

output=${1:-bin/caddy-xcaddy}
if (($# > 0)) && [[ $output != /* ]]; then
	output=$PWD/$output
fi
cd -- "$(dirname -- "$0")"

# The pinned version of xcaddy. Go's build cache makes this quick if it is built.
xcaddy=$PWD/bin/xcaddy
go build -C tests/tools/xcaddy -o "$xcaddy" github.com/caddyserver/xcaddy/cmd/xcaddy

module=$(go list -m)
caddy=$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)

# The version keeps xcaddy from looking one up; "." is this directory.
exec "$xcaddy" build "$caddy" --with "$module@v0.0.0=." --output "$output"
