#!/usr/bin/env bash
# Makes the layers of the bench's images in the directory $1: v1.layer, a Debian;
# v2.layer, the same with curl and certificates; touched.layer, v2 with all file times
# changed. Package lists are removed, as Dockerfiles do. Must run in its own mount
# namespace.
set -euo pipefail
cd "$1"
work=$(mktemp -d -p .)
trap 'rm -rf "$work"' EXIT
root=$work/root

layer() { tar --sort=name --numeric-owner -C "$root" -cf "$1.part" . && mv "$1.part" "$1"; }
clean() { rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb; }

# shellcheck disable=SC2016 # apt-get expands it
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | head -n 1)
debootstrap --variant=minbase bookworm "$root" ${mirror:+"$mirror"} >&2
clean
layer v1.layer

mount -t proc proc "$root/proc"
chroot "$root" sh -ec '
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends curl ca-certificates' >&2
umount "$root/proc"
clean
layer v2.layer

find "$root" -xdev -exec touch -h -d 2026-01-01 {} +
layer touched.layer
