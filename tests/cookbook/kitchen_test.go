package cookbook

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A kitchen is a machine on which a recipe is followed. It is this one, but with
// a loopback alone, where all names of the cookbook lead, and with an /etc, /run
// and /var/lib of its own, so every file is where the recipe wants it.
type kitchen struct {
	harness.Machine
	*testing.T
	left    []block // what is still to do
	dir     string  // where commands run
	shared  string  // the /media of this kitchen
	address string  // what ciq… stands for
	init    string  // the process that runs the machine's services, where one does
}

const beKitchen = `
busybox ip link set lo up
busybox ip address add 192.0.2.1 dev lo # clients treat 127.0.0.1 as no other
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /srv
mkdir /var/lib/etc
cp -a /etc/. /var/lib/etc
mount --bind /var/lib/etc /etc
mount --bind "$1" /media
rm -rf /etc/docker /etc/containerd /etc/caddy
mkdir -p /etc/docker /etc/containerd /etc/caddy /var/lib/caddy
cat >/etc/hosts <<END
127.0.0.1 localhost
192.0.2.1 registry.lan registry.example.com
127.0.0.2 kubo-1.lan
127.0.0.3 kubo-2.lan
127.0.0.4 kubo-3.lan
END
echo ready
exec sleep infinity
`

func newKitchen(t *testing.T, r recipe, img harness.Image) *kitchen {
	t.Helper()
	harness.Need(t, "root", "unshare", "nsenter", "busybox", "bash", "bin/caddy", "bin/converter")
	k := &kitchen{T: t, left: r.blocks, dir: t.TempDir(), shared: t.TempDir()}
	k.address = harness.RootOf(t, harness.Convert(t, img.Archive, "--store="+t.TempDir()))
	k.Machine = k.another()
	return k
}

// another is one more machine, with nothing in common but /media.
func (k *kitchen) another() harness.Machine {
	k.Helper()
	holder := harness.StartDaemon(k.T, "machine", exec.Command("unshare", "--net", "--mount", "sh", "-ec", beKitchen, "sh", k.shared))
	holder.StopSignal = os.Kill // sleep does not care how it ends
	holder.AwaitLine(k.T, "ready")
	return harness.Machine{PID: holder.Cmd.Process.Pid}
}

// command is a program that runs there, with our programs first in its PATH.
func (k *kitchen) command(name string, args ...string) *exec.Cmd {
	const script = `cd "$1"; shift; exec "$@"`
	args = append([]string{"-c", script, "sh", k.dir, name}, args...)
	cmd := k.Machine.Command("sh", args...)
	if k.init != "" {
		cmd = exec.Command("nsenter", append([]string{"--target", k.init, "--all", "sh"}, args...)...)
	}
	cmd.Env = append(os.Environ(), "PATH="+harness.InRepo("bin")+":/usr/bin:/usr/sbin:/bin:/sbin", "HOME=/var/lib/caddy")
	return cmd
}

// follow does what the next block says and gives back what that prints.
func (k *kitchen) follow() string {
	k.Helper()
	b := k.next()
	if b.file == "" && b.language == "caddyfile" {
		b.file = "/etc/caddy/Caddyfile"
	}
	switch {
	case b.file != "":
		k.write(b.file, b.text)
		return ""
	case b.language == "sh" || b.language == "bash":
		return harness.Run(k.T, k.command("bash", "-ec", b.text))
	}
	k.Fatalf("nobody is told what to do with this:\n%s", b.text)
	return ""
}

// next is the next block, with all that it leaves open filled in.
func (k *kitchen) next() block {
	k.Helper()
	if len(k.left) == 0 {
		k.Fatal("the recipe ends too early")
	}
	b := k.left[0]
	k.left = k.left[1:]
	b.text = k.fill(b.text)
	return b
}

func (k *kitchen) fill(text string) string {
	k.Helper()
	if strings.Contains(text, "ciq…") {
		text = strings.ReplaceAll(text, "ciq…", k.address)
	}
	if strings.Contains(text, "bafy…") {
		text = strings.ReplaceAll(text, "bafy…", harness.CIDv1(k.T, k.address))
	}
	if strings.Contains(text, "…") {
		k.Fatalf("what is to be filled in here?\n%s", text)
	}
	return text
}

// caddy serves /etc/caddy/Caddyfile. Its sites get their certificates from an
// authority of its own.
func (k *kitchen) caddy() *harness.Daemon {
	k.Helper()
	return k.serve("caddy")
}

// serve is for a Caddy that is not this checkout's.
func (k *kitchen) serve(caddy string) *harness.Daemon {
	k.Helper()
	file := filepath.Join(k.dir, "Caddyfile")
	harness.WriteFile(k.T, file, "{\nlocal_certs\nskip_install_trust\n}\nimport /etc/caddy/Caddyfile\n")
	d := harness.StartDaemon(k.T, "caddy", k.command(caddy, "run", "--adapter=caddyfile", "--config="+file))
	d.AwaitLine(k.T, "serving initial configuration")
	if strings.Contains(d.Log.String(), "enabling automatic TLS certificate management") {
		d.AwaitLine(k.T, "certificate obtained successfully")
	}
	return d
}

const authority = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"

// trust makes the authority of Caddy one that the machine trusts, as it does
// those that a public name gets its certificate from.
func (k *kitchen) trust() {
	k.Helper()
	harness.Run(k.T, k.command("sh", "-ec", "cat "+authority+" >>/etc/ssl/certs/ca-certificates.crt"))
}

// docker starts Docker's daemon with the machine's configuration.
func (k *kitchen) docker() {
	k.Helper()
	harness.Need(k.T, "dockerd", "docker")
	k.isolated("API listen on", "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs")
}

// containerd starts containerd with the machine's configuration.
func (k *kitchen) containerd() {
	k.Helper()
	harness.Need(k.T, "containerd", "ctr")
	k.isolated("containerd successfully booted", "containerd")
}

// isolated starts a daemon that ends with all that it started.
func (k *kitchen) isolated(ready string, args ...string) {
	k.Helper()
	unshare := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}, args...)
	d := harness.StartDaemon(k.T, args[0], k.command("unshare", unshare...))
	d.StopSignal = os.Kill // other signals unshare keeps to itself
	d.AwaitLine(k.T, ready)
}

// beSystemd has systemd know no unit of the machine's but targets that want
// nothing, so that it starts what a recipe says and nothing else.
const beSystemd = `
mount -t tmpfs tmpfs /usr/local/bin
rm -rf /etc/systemd/system
mkdir -p /etc/systemd/system /run/units
for target in sysinit basic multi-user network network-online shutdown; do
	printf '[Unit]\nDefaultDependencies=no\n' >/run/units/$target.target
done
! id caddy >/dev/null 2>&1 || userdel caddy
export SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/units container=kitchen
exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child --mount-proc \
	/lib/systemd/systemd --system --unit=basic.target --show-status=no`

// systemd starts systemd, which then runs the machine's services.
func (k *kitchen) systemd() {
	k.Helper()
	harness.Need(k.T, "systemctl", "systemd-analyze")
	d := harness.StartDaemon(k.T, "systemd", k.command("sh", "-ec", beSystemd))
	d.StopSignal = os.Kill
	d.Await(k.T, "its socket", func() bool {
		_, err := os.Stat(k.inside("/run/systemd/private"))
		return err == nil
	})
	// It listens to processes of its own namespace only.
	children := harness.ReadFile(k.T, fmt.Sprintf("/proc/%d/task/%[1]d/children", d.Cmd.Process.Pid))
	k.init = strings.TrimSpace(children)
}

// kubo starts an IPFS node that listens on the usual ports of an address.
func (k *kitchen) kubo(ip string) *harness.Daemon {
	k.Helper()
	harness.Need(k.T, "bin/ipfs")
	const script = `
export IPFS_PATH="$1"
ipfs init --profile=test >/dev/null
ipfs config Addresses.Gateway /ip4/$2/tcp/8080
ipfs config Addresses.API /ip4/$2/tcp/5001
exec ipfs daemon --offline`
	d := harness.StartDaemon(k.T, "kubo", k.command("sh", "-ec", script, "sh", "/var/lib/ipfs-"+ip, ip))
	d.AwaitLine(k.T, "Daemon is ready")
	return d
}

// have puts the image into Docker, where a recipe begins with it.
func (k *kitchen) have(img harness.Image, tags ...string) {
	k.Helper()
	harness.Run(k.T, harness.WithInput(k.T, k.command("docker", "load"), img.Archive))
	for _, tag := range tags {
		harness.Run(k.T, k.command("docker", "tag", harness.ImageName+":v1", harness.ImageName+":"+tag))
	}
}

// forget takes all images out of Docker, so that a pull gets what is served.
func (k *kitchen) forget() {
	k.Helper()
	harness.Run(k.T, k.command("sh", "-ec", "docker image rm --force $(docker image ls --quiet) >/dev/null"))
}

// convert puts the image where the arguments say; by default into the store of
// the machine.
func (k *kitchen) convert(img harness.Image, args ...string) {
	k.Helper()
	harness.Run(k.T, harness.WithInput(k.T, k.command("converter", args...), img.Archive))
}

// link puts a file of this machine's where commands run.
func (k *kitchen) link(file, name string) {
	k.Helper()
	if err := os.Symlink(file, filepath.Join(k.dir, name)); err != nil {
		k.Fatal(err)
	}
}

// write writes what a recipe takes for granted.
func (k *kitchen) write(file, text string) {
	k.Helper()
	cmd := k.command("sh", "-ec", `mkdir -p "$(dirname "$1")"; cat >"$1"`, "sh", file)
	cmd.Stdin = strings.NewReader(text)
	harness.Run(k.T, cmd)
}

// mustHave checks what Docker pulled, under the name that the cookbook has.
func (k *kitchen) mustHave(img harness.Image, ref string) {
	k.Helper()
	img.MustBe(k.T, strings.TrimSpace(harness.Run(k.T, k.command("docker", "image", "inspect", "--format={{.Id}}", k.fill(ref)))))
}

// inside is the path, seen from outside, of something in the machine.
func (k *kitchen) inside(path string) string { return fmt.Sprintf("/proc/%d/root%s", k.PID, path) }
