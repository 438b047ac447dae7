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

// A kitchen is a machine on which the blocks of a section are run. It is this machine
// with a network of its own, a loopback that all host names of the cookbook lead to, and
// with its own /etc, /run and /var/lib, so every file is where the recipe says.
type kitchen struct {
	harness.Machine
	*testing.T
	left    []block // the blocks that were not used yet
	dir     string  // where commands run
	shared  string  // the directory that is mounted as /media
	address string  // what ciq… stands for
	init    string  // the PID of the machine's systemd, if it runs
}

const beKitchen = `
busybox ip link set lo up
busybox ip address add 192.0.2.1 dev lo # clients have special rules for 127.0.0.1
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
192.0.2.1 registry.lan registry.example.com private.example.com
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

// another makes a second machine, which shares only /media with the first.
func (k *kitchen) another() harness.Machine {
	k.Helper()
	holder := harness.StartDaemon(k.T, "machine", exec.Command("unshare", "--net", "--mount", "sh", "-ec", beKitchen, "sh", k.shared))
	holder.StopSignal = os.Kill // nothing is lost
	holder.AwaitLine(k.T, "ready")
	return harness.Machine{PID: holder.Cmd.Process.Pid}
}

// command returns a command that runs on the machine, with our programs first in PATH.
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

// follow writes the file of the next block, or runs the block and returns its output.
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
	k.Fatalf("this block is neither a script nor a file:\n%s", b.text)
	return ""
}

// next returns the next block, with ciq… and bafy… filled in.
func (k *kitchen) next() block {
	k.Helper()
	if len(k.left) == 0 {
		k.Fatal("the section has fewer blocks than its cook uses")
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
		k.Fatalf("this has an … that the test cannot fill in:\n%s", text)
	}
	return text
}

// caddy starts this checkout's Caddy with /etc/caddy/Caddyfile. Unless that has global
// options, its sites get their certificates from Caddy's own authority.
func (k *kitchen) caddy() *harness.Daemon {
	k.Helper()
	return k.serve("caddy")
}

// serve is caddy with another Caddy.
func (k *kitchen) serve(caddy string) *harness.Daemon {
	k.Helper()
	const caddyfile = "/etc/caddy/Caddyfile"
	file := caddyfile
	if !strings.HasPrefix(harness.Run(k.T, k.command("cat", caddyfile)), "{") { // it has no global options
		file = filepath.Join(k.dir, "Caddyfile")
		harness.WriteFile(k.T, file, "{\nlocal_certs\nskip_install_trust\n}\nimport "+caddyfile+"\n")
	}
	d := harness.StartDaemon(k.T, "caddy", k.command(caddy, "run", "--adapter=caddyfile", "--config="+file))
	d.AwaitLine(k.T, "serving initial configuration")
	if strings.Contains(d.Log.String(), "enabling automatic TLS certificate management") {
		d.AwaitLine(k.T, "certificate obtained successfully")
	}
	return d
}

const authority = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"

// trust makes the machine trust Caddy's own authority, as it trusts public ones.
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

// isolated starts a daemon whose end ends all programs that it started.
func (k *kitchen) isolated(ready string, args ...string) {
	k.Helper()
	unshare := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}, args...)
	harness.AwaitStart(k.T, ready, func() *harness.Daemon {
		d := harness.StartDaemon(k.T, args[0], k.command("unshare", unshare...))
		d.StopSignal = os.Kill // unshare does not forward signals
		return d
	})
}

// beSystemd runs systemd without the machine's units and with empty targets, so that it
// starts only what a recipe enables.
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
	d.Await(k.T, "systemd's socket", func() bool {
		_, err := os.Stat(k.inside("/run/systemd/private"))
		return err == nil
	})
	// systemd answers only processes in its own namespaces.
	children := harness.ReadFile(k.T, fmt.Sprintf("/proc/%d/task/%[1]d/children", d.Cmd.Process.Pid))
	k.init = strings.TrimSpace(children)
}

// kubo starts an IPFS node on the usual ports of an IP address.
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

// have loads the image into Docker, for recipes that begin with an image there.
func (k *kitchen) have(img harness.Image, tags ...string) {
	k.Helper()
	harness.Run(k.T, harness.WithInput(k.T, k.command("docker", "load"), img.Archive))
	for _, tag := range tags {
		harness.Run(k.T, k.command("docker", "tag", harness.ImageName+":v1", harness.ImageName+":"+tag))
	}
}

// forget removes all images from Docker, so that a pull fetches everything.
func (k *kitchen) forget() {
	k.Helper()
	harness.Run(k.T, k.command("sh", "-ec", "docker image rm --force $(docker image ls --quiet) >/dev/null"))
}

// convert converts the image with the given arguments, by default into the machine's
// store.
func (k *kitchen) convert(img harness.Image, args ...string) {
	k.Helper()
	harness.Run(k.T, harness.WithInput(k.T, k.command("converter", args...), img.Archive))
}

// link makes a link to a file in the directory where commands run.
func (k *kitchen) link(file, name string) {
	k.Helper()
	if err := os.Symlink(file, filepath.Join(k.dir, name)); err != nil {
		k.Fatal(err)
	}
}

// write writes a file on the machine.
func (k *kitchen) write(file, text string) {
	k.Helper()
	cmd := k.command("sh", "-ec", `mkdir -p "$(dirname "$1")"; cat >"$1"`, "sh", file)
	cmd.Stdin = strings.NewReader(text)
	harness.Run(k.T, cmd)
}

// mustHave fails the test unless Docker has the image under the reference.
func (k *kitchen) mustHave(img harness.Image, ref string) {
	k.Helper()
	img.MustBe(k.T, strings.TrimSpace(harness.Run(k.T, k.command("docker", "image", "inspect", "--format={{.Id}}", k.fill(ref)))))
}

// inside returns the path outside the machine of a path on the machine.
func (k *kitchen) inside(path string) string { return fmt.Sprintf("/proc/%d/root%s", k.PID, path) }
