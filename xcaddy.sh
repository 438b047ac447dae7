#!/usr/bin/env bash
# Builds a Caddy with the module from this checkout, the way that users of the
# module build theirs: with xcaddy, and with the Caddy version in go.mod.
#
# Usage: xcaddy.sh [OUTPUT]     (default: bin/caddy-xcaddy)
set -euo pipefail

output=${1:-bin/caddy-xcaddy}
if (($# > 0)) && [[ $output != /* ]]; then
	output=$PWD/$output
fi
cd -- "$(dirname -- "$0")"

# The pinned one. Go's build cache knows whether there is anything to do.
xcaddy=$PWD/bin/xcaddy
go build -C tests/tools/xcaddy -o "$xcaddy" github.com/caddyserver/xcaddy/cmd/xcaddy

module=$(go list -m)
caddy=$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)

# A version is given lest one be looked up, and "." is this directory.
exec "$xcaddy" build "$caddy" --with "$module@v0.0.0=." --output "$output"
