#!/bin/sh
# Fetches the programs that the end-to-end tests work with: Kubo, xcaddy, crane,
# oras, regctl and the tests of the distribution specification, at the versions
# pinned under tools/, into bin/; and, on Debian as root, container clients and
# decoders by apt, and Debian trixie with its newer Docker by debootstrap, into a
# cache directory.
#
# Programs that are already there stay as they are, so a second run takes seconds.
# The script names each program that it cannot get, and goes on: the tests that
# need it are skipped, each with a line that says so, or fail where CI=true.
set -eu
cd "$(dirname "$0")/.."

packages="docker.io docker-registry podman skopeo containerd debootstrap busybox-static curl systemd
	python3 pigz isal gzip xz-utils bzip2 zstd zip unzip shellcheck"
programs="dockerd docker docker-registry podman skopeo containerd ctr debootstrap busybox curl systemctl
	python3 pigz igzip gzip xz bzip2 zstd zip unzip shellcheck"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/caddy-ipfs-registry"

say() { echo "tests/setup.sh: $*" >&2; }

# tool MODULE NAME PACKAGE builds one of the pinned tools. Go's build cache
# knows whether there is anything to do.
tool() {
	go build -C "tests/tools/$1" -o "$PWD/bin/$2" "$3" || say "bin/$2 could not be built; its tests can't run"
}

missing() {
	for program in $programs; do
		command -v "$program" >/dev/null || echo "$program"
	done
}

# refuse_services keeps Debian from starting the services that come with packages,
# until this script ends: the tests start their own. (Debian still enables them for
# the next boot.) A policy that is already there stays.
policy=/usr/sbin/policy-rc.d
refuse_services() {
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		say "$policy is there already and decides which services start"
		return 0
	fi
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# debian installs the Debian packages, unless all of their programs are there.
debian() {
	[ -n "$(missing)" ] || return 0
	say "missing: $(missing | tr '\n' ' ')"
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		say "only root on Debian can install them; their tests can't run"
		return 0
	fi
	apt-get update -q >&2 || say "apt-get update failed; going on with the present package lists"
	# From Debian 13 on, Docker's client is a package of its own.
	apt-cache show docker-cli >/dev/null 2>&1 && packages="$packages docker-cli"
	say "installing with apt-get, without starting any service"
	refuse_services
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086 # one word a package
	if ! apt-get install -q -y --no-install-recommends $packages >&2; then
		say "installing the packages one by one, since apt-get does not have all of them"
		for package in $packages; do
			apt-get install -q -y --no-install-recommends "$package" >&2 || say "no package $package"
		done
	fi
	[ -z "$(missing)" ] || say "still missing: $(missing | tr '\n' ' '); their tests can't run"
}

# trixie makes a root directory of Debian 13. It has another name until it is
# complete.
trixie() {
	[ ! -d "$cache/trixie" ] || return 0
	if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
		say "making a Debian trixie, for a newer Docker, takes debootstrap and root; its tests can't run"
		return 0
	fi
	say "making a Debian trixie with its Docker in $cache/trixie (about 400 MB)"
	rm -rf "$cache/trixie.part"
	mkdir -p "$cache"
	# The mirror that apt uses here, or else debootstrap's own. The namespace takes
	# away what debootstrap mounts.
	# shellcheck disable=SC2016 # apt-get expands it
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
go build -C tests/oracle/nopfs -o "$PWD/bin/nopfs" . || say "bin/nopfs could not be built; its tests can't run"
debian
trixie
