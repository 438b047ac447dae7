package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// inRoot runs a program with the folder $2 as its /mnt and a /run of its own;
// in another root directory, if $1 is not empty.
const inRoot = `
root=$1; work=$2; shift 2
if [ -n "$root" ]; then
	mount --bind "$root" "$root"
	mount --rbind /dev "$root/dev"
	mount --rbind /sys "$root/sys"
	mount -t tmpfs tmpfs "$root/tmp"
	set -- chroot "$root" "$@"
fi
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$work" "$root/mnt"
exec "$@"
`

// startIsolated starts a daemon in namespaces of its own, with work as its /mnt
// and in a root directory, or in this machine's if that is empty. When the
// daemon ends, so does all that it started and mounted.
func startIsolated(t *testing.T, name, root, work string, args ...string) *daemon {
	t.Helper()
	needs(t, "root", "unshare", "chroot")
	unshare := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", inRoot, "sh", root, work}
	d := startDaemon(t, name, exec.Command("unshare", append(unshare, args...)...))
	d.last = os.Kill // other signals unshare keeps to itself; with it, the namespaces end
	return d
}

// trixieRoot is where setup.sh makes a Debian trixie.
func trixieRoot() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "caddy-ipfs-registry", "trixie")
}

// A machine has a loopback of its own, where every port is free and names lead,
// and an empty /var/lib, where the default store is.
type machine struct{ pid int }

const beMachine = `
busybox ip link set lo up
mount --bind "$1" /etc/hosts
mount -t tmpfs tmpfs /var/lib
echo ready
exec sleep infinity
`

// newMachine makes one on which each of the names is 127.0.0.1.
func newMachine(t *testing.T, names ...string) machine {
	t.Helper()
	needs(t, "root", "unshare", "nsenter", "busybox")
	hosts := filepath.Join(t.TempDir(), "hosts")
	writeFile(t, hosts, "127.0.0.1 localhost "+strings.Join(names, " ")+"\n")
	holder := startDaemon(t, "machine", exec.Command("unshare", "--net", "--mount", "sh", "-ec", beMachine, "sh", hosts))
	holder.last = os.Kill // sleep does not care how it ends
	holder.awaitLine(t, "ready")
	return machine{holder.cmd.Process.Pid}
}

// command is a program that runs there.
func (m machine) command(name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(m.pid), "--net", "--mount", "--root", "--", name}
	return exec.Command("nsenter", append(enter, args...)...)
}
