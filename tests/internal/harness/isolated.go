package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// inRoot runs a program with the directory $2 as /mnt and with an empty /run. If $1 is
// not empty, it is the program's root directory.
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

// startIsolated starts a daemon in its own namespaces, with work as its /mnt. Its root
// directory is root, or this machine's if root is empty. When the daemon ends, so do
// all programs that it started and all of its mounts.
func startIsolated(t *testing.T, name, root, work string, args ...string) *Daemon {
	t.Helper()
	Need(t, "root", "unshare", "chroot")
	unshare := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", inRoot, "sh", root, work}
	d := StartDaemon(t, name, exec.Command("unshare", append(unshare, args...)...))
	d.StopSignal = os.Kill // unshare does not forward signals; its end ends the namespaces
	return d
}

// TrixieRoot returns the directory in which tests/setup.sh makes a Debian trixie.
func TrixieRoot() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "caddy-ipfs-registry", "trixie")
}

// A Machine is this machine with a network of its own, which is a loopback on which
// every port is free, and with an empty /var/lib, where the default store is.
type Machine struct{ PID int }

const beMachine = `
busybox ip link set lo up
mount --bind "$1" /etc/hosts
mount -t tmpfs tmpfs /var/lib
echo ready
exec sleep infinity
`

// NewMachine makes a Machine on which the given host names are 127.0.0.1.
func NewMachine(t *testing.T, names ...string) Machine {
	t.Helper()
	Need(t, "root", "unshare", "nsenter", "busybox")
	hosts := filepath.Join(t.TempDir(), "hosts")
	WriteFile(t, hosts, "127.0.0.1 localhost "+strings.Join(names, " ")+"\n")
	holder := StartDaemon(t, "machine", exec.Command("unshare", "--net", "--mount", "sh", "-ec", beMachine, "sh", hosts))
	holder.StopSignal = os.Kill // nothing is lost
	holder.AwaitLine(t, "ready")
	return Machine{holder.Cmd.Process.Pid}
}

// Command returns a command that runs on the machine.
func (m Machine) Command(name string, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(m.PID), "--net", "--mount", "--root", "--", name}
	return exec.Command("nsenter", append(enter, args...)...)
}
