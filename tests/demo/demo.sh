#!/usr/bin/env bash
# The whole way of an image: the converter puts it into a directory, Caddy serves it from
# there, and a client pulls it. The pulled image has the same ID. The demo needs no
# Docker, no IPFS node and no root, and leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/../.."

work=$(mktemp -d -t ipfs-registry-demo.XXXXXX)
server=
pulled_by_docker=
finish() {
	trap '' INT TERM
	[ -z "$pulled_by_docker" ] || docker image rm "$pulled_by_docker" >/dev/null || true
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

say() { printf '\n%s\n' "$*"; }
run() {
	echo "+ $*"
	"$@"
}
fail() {
	echo "demo: $*" >&2
	exit 1
}
listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

say "1. An image with one static program, in an archive like docker save's."
CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags=-s -o "$work/hello" ./tests/demo/hello
go run ./tests/demo/image demo/hello:1.0 "$work/hello" >"$work/hello.tar"
# The image's ID is the digest of its config, which names the config in the archive.
id=$(tar -xOf "$work/hello.tar" manifest.json | sed 's/.*"Config":"\([0-9a-f]*\).*/\1/')
echo "its ID: sha256:$id"

port=5000
while listening "$port"; do port=$((port + 1)); done

say "2. The converter puts it into a store and prints what to pull."
echo "+ converter <hello.tar"
ref=$(bin/converter --quiet --store "$work/store" --registry "localhost:$port" <"$work/hello.tar")
echo "$ref"

say "3. Caddy serves the store."
config=Caddyfile.example
if [ "$port" != 5000 ]; then # another program listens on 5000
	config=$work/Caddyfile
	sed "s/^:5000/:$port/" Caddyfile.example >"$config"
fi
echo "+ caddy run --config $config"
IPFS_REGISTRY_STORE=$work/store CADDY_ADMIN=unix//$work/admin.sock XDG_CONFIG_HOME=$work XDG_DATA_HOME=$work \
	bin/caddy run --config "$config" --adapter caddyfile 2>"$work/caddy.log" &
server=$!
until listening "$port"; do
	kill -0 "$server" 2>/dev/null || fail "Caddy did not start: $(tail -n 1 "$work/caddy.log")"
	sleep 0.1
done

# Each function pulls with one client and sets pulled to the ID of the image. It fails if
# the client is missing or does not work here.
cannot() {
	echo "$1 cannot pull here; trying the next client"
	return 1
}
with_docker() {
	docker info >/dev/null 2>&1 || return 1
	run docker pull --quiet "$ref" || cannot docker || return 1
	pulled_by_docker=$ref
	run docker run --rm --network none "$ref"
	# With containerd's store, Docker's ID is another digest, so take it from the archive.
	pulled=$(docker save "$ref" | tar -xO manifest.json | sed 's/.*"Config":"\(blobs.sha256.\)\{0,1\}\([0-9a-f]*\).*/\2/')
}
with_podman() {
	command -v podman >/dev/null || return 1
	local podman=(podman --root "$work/podman" --runroot "$work/podman-run" --storage-driver vfs)
	run "${podman[@]}" pull --quiet --tls-verify=false "$ref" || cannot podman || return 1
	pulled=$("${podman[@]}" image inspect --format '{{.Id}}' "$ref")
}
with_skopeo() {
	command -v skopeo >/dev/null || return 1
	run skopeo copy --quiet --src-tls-verify=false "docker://$ref" "dir:$work/pulled" || cannot skopeo || return 1
	pulled=$(sed 's/.*"config":{[^}]*"digest":"sha256:\([0-9a-f]*\).*/\1/' "$work/pulled/manifest.json")
}
with_crane() {
	go build -C tests/tools/crane -o "$work/crane" github.com/google/go-containerregistry/cmd/crane
	run "$work/crane" pull --insecure "$ref" "$work/pulled.tar"
	pulled=$(tar -xOf "$work/pulled.tar" manifest.json | sed 's/.*"Config":"sha256:\([0-9a-f]*\).*/\1/')
}

say "4. A client pulls the image, as from any registry."
pulled=
with_docker || with_podman || with_skopeo || with_crane || true
[ -n "$pulled" ] || { cat "$work/caddy.log" >&2; fail "no client could pull"; }

say "5. The pulled image is the one that was converted."
echo "its ID: sha256:$pulled"
[ "$pulled" = "$id" ] || fail "the pulled image has another ID"

cat <<'END'

Now with your own image: start the registry, then save, convert and pull in another
terminal.

    make run
    docker save IMAGE | bin/converter
    docker pull REFERENCE            (the line that the converter printed)
END
