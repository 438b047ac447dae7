#!/bin/sh
# Fetches the real programs that the end-to-end tests work with: Kubo, xcaddy,
# crane, oras, regctl and the distribution specification's own tests, at the
# versions pinned under tools/, into bin/; and, on Debian as root, container
# clients by apt, and Debian trixie with its newer Docker by debootstrap, into a
# cache folder.
#
# What is there already is left as it is, so a second run takes seconds. What
# can't be had is named, and the script goes on: the tests that need it are then
# skipped, each with a line that says so, or fail where CI=true.
set -eu
cd "$(dirname "$0")/.."

packages="docker.io docker-registry podman skopeo containerd debootstrap busybox-static curl systemd"
programs="dockerd docker docker-registry podman skopeo containerd ctr debootstrap busybox curl systemctl"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/caddy-ipfs-registry"

say() { echo "tests/setup.sh: $*" >&2; }

# tool MODULE NAME PACKAGE builds one of the pinned tools. Go's build cache
# knows whether there is anything to do.
tool() {
	(cd "tests/tools/$1" && go build -o "../../../bin/$2" "$3") || say "$2 could not be built; its tests can't run"
}

missing() {
	for program in $programs; do
		command -v "$program" >/dev/null || echo "$program"
	done
}

# refuse_services makes Debian start none of the services that come with packages,
# until this script ends: the tests start what they need, and the machine is not
# theirs. (Debian enables them for the next boot all the same.) A policy that
# somebody set stays.
policy=/usr/sbin/policy-rc.d
refuse_services() {
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		say "$policy is there already, and decides which services start"
		return 0
	fi
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

clients() {
	[ -n "$(missing)" ] || return 0
	say "not here: $(missing | tr '\n' ' ')"
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		say "installing them takes root on Debian; their tests can't run"
		return 0
	fi
	apt-get update -q >&2 || say "apt-get update failed; going on with the package lists there are"
	# From Debian 13 on, Docker's client is a package of its own.
	apt-cache show docker-cli >/dev/null 2>&1 && packages="$packages docker-cli"
	say "installing with apt-get, without starting any service: $packages"
	refuse_services
	# shellcheck disable=SC2086 # one word a package
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages >&2 ||
		say "apt-get failed; some tests can't run"
}

# trixie makes a root directory of Debian 13. A run that was interrupted leaves
# only what has another name.
trixie() {
	[ ! -d "$cache/trixie" ] || return 0
	if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
		say "Debian trixie, for a newer Docker, takes debootstrap and root; its tests can't run"
		return 0
	fi
	say "making a Debian trixie with its Docker in $cache/trixie (about 400 MB)"
	rm -rf "$cache/trixie.part"
	mkdir -p "$cache"
	# The mirror that apt uses here; where there is none, debootstrap knows one.
	# What it mounts is gone with its namespace.
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Label: Debian' 'Component: main' 2>/dev/null | head -n 1) || true
	if ! unshare --mount debootstrap --variant=minbase --include=docker.io \
		trixie "$cache/trixie.part" ${mirror:+"$mirror"} >&2; then
		say "debootstrap failed; the tests of a newer Docker can't run"
		return 0
	fi
	rm -rf "$cache/trixie.part/var/cache/apt" "$cache/trixie.part/var/lib/apt/lists"
	mv "$cache/trixie.part" "$cache/trixie"
}

tool kubo ipfs github.com/ipfs/kubo/cmd/ipfs
tool xcaddy xcaddy github.com/caddyserver/xcaddy/cmd/xcaddy
tool crane crane github.com/google/go-containerregistry/cmd/crane
tool oras oras oras.land/oras/cmd/oras
tool regctl regctl github.com/regclient/regclient/cmd/regctl
tool conformance conformance github.com/opencontainers/distribution-spec/conformance
(cd tests/oracle/nopfs && go build -o ../../../bin/nopfs .) || say "nopfs could not be built; its tests can't run"
clients
trixie
