#!/bin/sh
# Gets the programs that the end-to-end tests and benchmarks need. It builds Kubo, xcaddy,
# crane, oras, regctl, helm, cosign, two other registries and the conformance tests of the
# distribution specification into bin/, at the versions that tools/ pins. As root on Debian,
# it also installs container clients and decoders with apt, and makes a Debian trixie, with
# its newer Docker and BuildKit, in a cache directory.
#
# Programs that are already there stay as they are, so a second run takes seconds. The
# script names each program that it cannot get and goes on: tests that need the program
# are skipped with a message, or fail if CI=true.
set -eu
cd "$(dirname "$0")/.."

packages="docker.io docker-registry podman skopeo containerd debootstrap busybox-static curl systemd
	python3 pigz isal gzip xz-utils bzip2 zstd zip unzip shellcheck"
programs="dockerd docker docker-registry podman skopeo containerd ctr debootstrap busybox curl systemctl
	python3 pigz igzip gzip xz bzip2 zstd zip unzip shellcheck"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/caddy-ipfs-registry"

say() { echo "tests/setup.sh: $*" >&2; }

# tool MODULE NAME PACKAGE builds a pinned tool into bin/. It takes no time if nothing has
# changed.
tool() {
	go build -C "tests/tools/$1" -o "$PWD/bin/$2" "$3" || say "bin/$2 could not be built; its tests can't run"
}

missing() {
	for program in $programs; do
		command -v "$program" >/dev/null || echo "$program"
	done
}

# refuse_services keeps Debian from starting the services of installed packages until this
# script ends, since the tests start their own. Debian still enables them for the next
# boot. A policy that is already there stays.
policy=/usr/sbin/policy-rc.d
refuse_services() {
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		say "$policy exists already, and decides which services start"
		return 0
	fi
	trap 'rm -f "$policy"' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
}

# debian installs the Debian packages if one of their programs is missing.
debian() {
	[ -n "$(missing)" ] || return 0
	say "missing: $(missing | tr '\n' ' ')"
	if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
		say "only root on Debian can install these; their tests can't run"
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

# trixie makes a root directory of Debian 13. It has another name until it is complete.
trixie() {
	[ ! -x "$cache/trixie/usr/libexec/docker/cli-plugins/docker-buildx" ] || return 0
	if ! command -v debootstrap >/dev/null || [ "$(id -u)" != 0 ]; then
		say "making a Debian trixie, for a newer Docker, takes debootstrap and root; its tests can't run"
		return 0
	fi
	say "making a Debian trixie with its Docker and BuildKit in $cache/trixie (about 400 MB)"
	rm -rf "$cache/trixie.part"
	mkdir -p "$cache"
	# Use the mirror that apt uses here, or debootstrap's default. The mount namespace
	# removes what debootstrap mounts.
	# shellcheck disable=SC2016 # apt-get expands it
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Label: Debian' 'Component: main' 2>/dev/null | head -n 1) || true
	if ! unshare --mount debootstrap --variant=minbase --include=docker.io,docker-buildx \
		trixie "$cache/trixie.part" ${mirror:+"$mirror"} >&2; then
		say "debootstrap failed; the tests of a newer Docker can't run"
		return 0
	fi
	rm -rf "$cache/trixie.part/var/cache/apt" "$cache/trixie.part/var/lib/apt/lists"
	rm -rf "$cache/trixie" # one without BuildKit
	mv "$cache/trixie.part" "$cache/trixie"
}

tool kubo ipfs github.com/ipfs/kubo/cmd/ipfs
tool xcaddy xcaddy github.com/caddyserver/xcaddy/cmd/xcaddy
tool crane crane github.com/google/go-containerregistry/cmd/crane
tool oras oras oras.land/oras/cmd/oras
tool regctl regctl github.com/regclient/regclient/cmd/regctl
tool helm helm helm.sh/helm/v3/cmd/helm
tool cosign cosign github.com/sigstore/cosign/v3/cmd/cosign
tool distribution distribution github.com/distribution/distribution/v3/cmd/registry
tool olareg olareg github.com/olareg/olareg/cmd/olareg
tool conformance conformance github.com/opencontainers/distribution-spec/conformance
go build -C tests/oracle/nopfs -o "$PWD/bin/nopfs" . || say "bin/nopfs could not be built; its tests can't run"
debian
trixie
