package cookbook

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// cooks run the recipes of docs/cookbook.md.
var cooks = map[string]cook{
	"As a service": func(k *kitchen, img harness.Image) {
		k.systemd()
		for _, name := range []string{"bin", "contrib"} {
			k.link(harness.InRepo(name), name)
		}
		k.link(img.Archive, "app.tar")
		k.follow() // the Caddyfile
		k.follow()
		const unit = "ipfs-registry.service"
		if said, err := k.command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(said) > 0 {
			k.Errorf("systemd-analyze verify: %v\n%s", err, said)
		}
		harness.Run(k.T, k.command("systemd-analyze", "security", "--offline=yes", "--threshold=20", "/etc/systemd/system/"+unit))
		k.follow()
		k.pull("localhost:5000/ciq…/team/app", img)
		if user := harness.Run(k.T, k.command("stat", "--format=%U", "/var/lib/caddy/.config/caddy/autosave.json")); user != "caddy\n" {
			k.Errorf("the service runs as %s, want caddy", user)
		}
	},

	"In a container": func(k *kitchen, img harness.Image) {
		archive := builtImage(k.T)
		k.docker()
		harness.Run(k.T, harness.WithInput(k.T, k.command("docker", "load"), archive))
		const built = "caddy-ipfs-registry"
		harness.Run(k.T, k.command("docker", "tag", "localhost/"+built, built))
		harness.Run(k.T, k.command("docker", "run", "--rm", "--network=none", built, "converter", "--version"))
		k.have(img)
		k.follow()
		printed := k.follow()
		if want := k.fill("localhost:5000/ciq…/team/app\n"); printed != want {
			k.Errorf("the converter prints %q, want %q", printed, want)
		}
		harness.Run(k.T, k.command("docker", "image", "rm", harness.ImageName+":v1"))
		k.follow()
		k.mustHave(img, "localhost:5000/ciq…/team/app")
	},

	"In a container, not as root": func(k *kitchen, img harness.Image) {
		archive := builtImage(k.T)
		k.docker()
		harness.Run(k.T, harness.WithInput(k.T, k.command("docker", "load"), archive))
		const built = "caddy-ipfs-registry"
		harness.Run(k.T, k.command("docker", "tag", "localhost/"+built, built))
		k.have(img)
		k.follow()
		if printed, want := k.follow(), k.fill("localhost:5000/ciq…/team/app\n"); printed != want {
			k.Errorf("the converter prints %q, want %q", printed, want)
		}
		k.pull("localhost:5000/ciq…/team/app", img)
		if user := strings.Fields(harness.Run(k.T, k.command("docker", "top", "registry", "-o", "pid,uid"))); user[len(user)-1] != "1000" {
			k.Errorf("the registry runs as %q, want 1000", user)
		}
	},

	"On another port, as on a Mac": func(k *kitchen, img harness.Image) {
		k.startRegistry(k.next())
		k.docker()
		k.have(img)
		if printed, want := k.follow(), k.fill("localhost:5050/ciq…/team/app\n"); printed != want {
			k.Errorf("the converter prints %q, want %q", printed, want)
		}
		k.forget()
		k.follow()
		k.mustHave(img, "localhost:5050/ciq…/team/app")
	},

	"Docker 29 without TLS": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.follow() // hosts.toml, which Debian's Docker is too old for; containerd reads it as well
		k.containerd()
		const ref = "registry.lan:5000/ciq…/team/app:v1"
		harness.Run(k.T, k.command("ctr", "images", "pull", "--hosts-dir", "/etc/docker/certs.d", k.fill(ref)))
		img.MustBe(k.T, k.containerdHas(ref))
	},

	"Clients that read no index": func(k *kitchen, img harness.Image) {
		k.docker()
		k.have(img)
		if printed, want := k.follow(), k.fill("localhost:5000/ciq…/team/app\n"); printed != want {
			k.Errorf("the converter prints %q, want %q", printed, want)
		}
	},

	"A mirror below a path": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.follow() // hosts.toml
		k.containerd()
		k.follow()
		img.MustBe(k.T, k.containerdHas("docker.io/team/app:v1"))
	},

	"Which registry a mirror stands for": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "curl")
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		served, other, _ := strings.Cut(strings.ToLower(k.follow()), "\r\n\r\n")
		if !strings.HasPrefix(served, "http/1.1 200") || !strings.Contains(served, "oci-namespace: quay.io") {
			k.Errorf("an image of a registry that the root is for is answered with\n%s", served)
		}
		if !strings.HasPrefix(other, "http/1.1 404") {
			k.Errorf("an image of another registry is answered with\n%s", other)
		}
		for _, host := range []string{"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "quay.io:443"} {
			if status := k.status("http://registry.lan:5000/v2/team/app/manifests/v1?ns=" + host); status != "200" {
				k.Errorf("?ns=%s is answered with %s", host, status)
			}
		}
	},

	"A web page that reads the registry": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "curl")
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.trust()
		preflight, list, _ := strings.Cut(strings.ToLower(k.follow()), "\r\n\r\n")
		for _, answer := range []string{preflight, list} {
			if !strings.Contains(answer, "access-control-allow-origin: https://ui.example.com") {
				k.Errorf("the answer lacks the header:\n%s", answer)
			}
		}
		if !strings.HasPrefix(preflight, "http/2 204") || !strings.HasPrefix(list, "http/2 200") || !strings.Contains(list, `"tags"`) {
			k.Errorf("the answers are\n%s\n\n%s", preflight, list)
		}
	},

	"Docker on one machine": func(k *kitchen, img harness.Image) {
		k.follow() // the Caddyfile
		k.caddy()
		k.docker()
		k.have(img)
		printed := k.follow()
		if want := k.fill("localhost:5000/ciq…/team/app\n"); printed != want {
			k.Errorf("the converter prints %q, want %q", printed, want)
		}
		k.forget()
		k.follow()
		k.mustHave(img, "localhost:5000/ciq…/team/app")
	},

	"Docker without TLS": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.follow() // the daemon's configuration
		k.docker()
		k.follow()
		k.mustHave(img, "registry.lan:5000/ciq…/team/app")
	},

	"Docker with a certificate of Caddy's own": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "skopeo")
		k.convert(img)
		k.docker()
		k.follow() // the Caddyfile
		k.caddy()
		const ref = "registry.lan/ciq…/team/app"
		if _, stderr, err := harness.Try(k.command("docker", "pull", k.fill(ref))); err == nil || !strings.Contains(stderr, "unknown authority") {
			k.Errorf("Docker does not refuse an unknown authority: %v, %s", err, stderr)
		}
		harness.Run(k.T, k.command("cp", authority, "."))
		k.follow()
		k.mustHave(img, ref)
		harness.Run(k.T, k.command("skopeo", "inspect", "--no-tags", "docker://"+k.fill(ref)))
	},

	"containerd": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.write("/etc/caddy/Caddyfile", plainRegistry)
		k.caddy()
		k.containerd()
		k.follow() // hosts.toml
		k.follow()
		img.MustBe(k.T, k.containerdHas("registry.lan:5000/ciq…/team/app:v1"))
	},

	"Kubernetes": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.write("/etc/caddy/Caddyfile", plainRegistry)
		k.caddy()
		k.follow() // containerd's configuration
		k.follow() // hosts.toml
		k.containerd()
		pod := regexp.MustCompile(`image: (\S+)`).FindStringSubmatch(k.next().text)
		img.MustBe(k.T, pullAsKubelet(k.T, k.inside("/run/containerd/containerd.sock"), pod[1]))
	},

	"podman": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "podman", "skopeo")
		k.convert(img)
		k.write("/etc/caddy/Caddyfile", plainRegistry)
		k.caddy()
		k.write("/etc/containers/storage.conf", "[storage]\ndriver = \"vfs\"\nrunroot = \"/run/containers\"\ngraphroot = \"/var/lib/containers\"\n")
		k.follow() // registries.conf.d
		k.follow()
		id := harness.Run(k.T, k.command("podman", "image", "inspect", "--format={{.Id}}", k.fill("registry.lan:5000/ciq…/team/app")))
		img.MustBe(k.T, "sha256:"+strings.TrimSpace(id))
	},

	"A mirror of Docker Hub": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.follow() // the daemon's configuration
		k.docker()
		k.follow()
		k.mustHave(img, "team/app:v1")
		k.follow() // hosts.toml
		k.containerd()
		k.follow()
		img.MustBe(k.T, k.containerdHas("docker.io/team/app:v1"))
	},

	"A public registry with an allow-list": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "curl")
		k.kubo("127.0.0.1")
		k.convert(img, "--ipfs-api=http://127.0.0.1:5001")
		k.follow() // the Caddyfile
		k.follow() // the list
		k.caddy()
		k.trust()
		k.docker()
		k.follow()
		k.mustHave(img, "registry.example.com/ciq…/team/app")
		const unlisted = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354" // the empty directory
		if status := k.status("https://registry.example.com/v2/" + unlisted + "/app/manifests/latest"); status != "403" {
			k.Errorf("an address that is not on the list is answered with %s", status)
		}
	},

	"A password": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.trust()
		k.docker()
		const ref = "registry.example.com/ciq…/team/app"
		if _, stderr, err := harness.Try(k.command("docker", "pull", k.fill(ref))); err == nil || !strings.Contains(stderr, "no basic auth credentials") {
			k.Errorf("Docker is not refused without the password: %v, %s", err, stderr)
		}
		k.follow()
		k.mustHave(img, ref)
	},

	"A password for some images": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the Caddyfile
		k.follow() // the list
		k.caddy()
		k.trust()
		k.docker()
		root := harness.CIDv1(k.T, k.address)
		c, err := cid.Decode(root)
		if err != nil {
			k.Fatal(err)
		}
		spellings, err := cidname.Spellings(c)
		if err != nil {
			k.Fatal(err)
		}
		for _, spelling := range spellings {
			want := "403"
			if strings.ToLower(spelling.Text) != spelling.Text {
				want = "400" // no image name
			}
			for _, prefix := range []string{"", "ipfs/"} {
				url := "https://registry.example.com/v2/" + prefix + spelling.Text + "/team/app/manifests/latest"
				if status := k.status(url); status != want {
					k.Errorf("%s answers %s without the password; want %s", url, status, want)
				}
			}
		}
		k.follow()
		k.mustHave(img, "private.example.com/ciq…/team/app")
	},

	"A rate limit": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "bin/xcaddy", "curl")
		k.convert(img)
		k.buildCaddy(k.next())
		k.follow() // the Caddyfile
		k.serve("./caddy")
		k.trust()
		k.docker()
		k.follow()
		k.mustHave(img, "registry.example.com/ciq…/team/app")
		statuses := k.status("https://registry.example.com/v2/?[1-601]")
		if !strings.HasPrefix(statuses, "200\n") || !strings.HasSuffix(statuses, "\n429") {
			k.Errorf("601 requests are answered with %s", statuses)
		}
	},

	"Several Kubo nodes": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "curl")
		// With small socket buffers, a node still has bytes to send while the client reads.
		harness.Run(k.T, k.command("sh", "-ec", "for f in rmem wmem; do echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_$f; done"))
		nodes := map[string]*harness.Daemon{}
		for _, ip := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
			nodes[ip] = k.kubo(ip)
		}
		k.convert(img) // the image that the recipe copies
		k.follow()     // the Caddyfile
		k.write("/etc/docker/daemon.json", `{"insecure-registries": ["registry.lan:5000"]}`)
		caddy := k.caddy()
		k.docker()
		k.follow()
		k.killDuringDownload(caddy, nodes)
		k.follow()
		k.mustHave(img, "registry.lan:5000/ciq…/team/app")
	},

	"A closed network": func(k *kitchen, img harness.Image) {
		k.docker()
		k.have(img)
		k.follow() // outside
		k.Machine = k.another()
		k.follow() // inside
		k.follow() // the Caddyfile
		k.caddy()
		k.follow()
		k.pull("registry.lan:5000/ciq…/team/app", img)
	},

	"A name with moving tags": func(k *kitchen, img harness.Image) {
		k.kubo("127.0.0.1")
		k.docker()
		k.have(img, "v2")
		k.convert(img, "--ipfs-api=http://127.0.0.1:5001")
		k.follow() // the Caddyfile
		before := k.address
		k.address = regexp.MustCompile("ciq[a-z2-7]{52}").FindString(k.follow())
		if k.address == before {
			k.Error("the address is the same with one more tag")
		}
		k.zone(k.next().text)
		k.caddy()
		k.trust()
		k.forget()
		k.follow()
		for _, tag := range []string{"v1", "v2"} {
			ref := "registry.example.com/ipns/images.example.com/team/app:" + tag
			harness.Run(k.T, k.command("docker", "pull", ref))
			k.mustHave(img, ref)
		}
	},

	"Follow another registry by its key": func(k *kitchen, img harness.Image) {
		k.follow() // the Caddyfile of the first
		k.caddy()
		k.trust()
		key := strings.TrimSpace(k.follow())
		for i := range k.left {
			k.left[i].text = strings.ReplaceAll(k.left[i].text, "k51…", key)
		}
		k.follow() // the Caddyfile of the second
		k.write("/etc/caddy/second", "{\nadmin off\n}\nimport Caddyfile\n")
		d := harness.StartDaemon(k.T, "second", k.command("caddy", "run", "--adapter=caddyfile", "--config=/etc/caddy/second"))
		d.AwaitLine(k.T, "serving initial configuration")
		k.docker()
		k.have(img)
		k.follow()
		k.forget()
		k.follow()
		k.mustHave(img, "localhost:5000/team/app:v1")
	},

	"Publishing from CI": func(k *kitchen, img harness.Image) {
		k.kubo("127.0.0.1")
		k.docker()
		k.have(img)
		k.follow() // the Caddyfile
		k.caddy()
		k.trust()
		ref := k.fill("registry.example.com/ciq…/team/app")
		if printed := k.follow(); !strings.HasSuffix(printed, "\n"+ref+"\n") {
			k.Errorf("the script prints %q, want %s at its end", printed, ref)
		}
		k.forget()
		harness.Run(k.T, k.command("docker", "pull", ref))
		k.mustHave(img, ref)
	},
}

// containerdHas returns the ID of an image in containerd.
func (k *kitchen) containerdHas(ref string) (id string) {
	k.Helper()
	return harness.ConfigByCtr(k.T, func(args ...string) string { return harness.Run(k.T, k.command("ctr", args...)) }, k.fill(ref))
}

// pull fails the test unless skopeo, which needs no daemon, pulls the image.
func (k *kitchen) pull(ref string, img harness.Image) {
	k.Helper()
	harness.Need(k.T, "skopeo")
	harness.Run(k.T, k.command("skopeo", "copy", "--src-tls-verify=false", "docker://"+k.fill(ref), "dir:pulled"))
	img.MustBe(k.T, harness.ConfigDigest(k.T, harness.ReadFile(k.T, filepath.Join(k.dir, "pulled/manifest.json"))))
}

// plainRegistry is the Caddyfile for recipes about clients.
const plainRegistry = "http://registry.lan:5000 {\nipfs_registry\n}\n"

// status returns the status codes of the answers to curl's URLs, one a line.
func (k *kitchen) status(urls string) string {
	k.Helper()
	return strings.TrimSpace(harness.Run(k.T, k.command("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}\n", urls)))
}

// buildCaddy runs a block with xcaddy. It replaces this module by the checkout, which no
// module proxy has, and adds the version of Caddy, which xcaddy would ask a proxy for.
func (k *kitchen) buildCaddy(b block) {
	k.Helper()
	version := strings.TrimSpace(harness.Run(k.T, exec.Command("go", "list", "-m", "-f={{.Version}}", "github.com/caddyserver/caddy/v2")))
	module := strings.TrimSpace(harness.Run(k.T, exec.Command("go", "list", "-m")))
	script := strings.Replace(b.text, "xcaddy build", harness.InRepo("bin/xcaddy")+" build "+version, 1)
	script = strings.Replace(script, module, module+"@v0.0.0="+harness.InRepo("."), 1)
	build := exec.Command("bash", "-ec", script)
	build.Dir = k.dir
	harness.Build(k.T, build)
}

// zone starts a DNS server that has one record.
func (k *kitchen) zone(record string) {
	k.Helper()
	program := filepath.Join(k.dir, "zone")
	harness.Run(k.T, exec.Command("go", "build", "-o", program, "./zone"))
	d := harness.StartDaemon(k.T, "zone", k.command(program, strings.TrimSpace(record)))
	d.AwaitLine(k.T, "serving")
}

// killDuringDownload kills the node that sends a layer, in the middle of the layer. The
// client must get the whole layer.
func (k *kitchen) killDuringDownload(caddy *harness.Daemon, nodes map[string]*harness.Daemon) {
	k.Helper()
	repository := k.fill("http://registry.lan:5000/v2/ciq…/team/app")
	var m harness.Manifest
	if err := json.Unmarshal([]byte(harness.Run(k.T, k.command("curl", "--silent", repository+"/manifests/latest"))), &m); err != nil {
		k.Fatal(err)
	}
	layer := slices.MaxFunc(m.Layers, func(a, b harness.Descriptor) int { return a.Size - b.Size })

	download := k.command("curl", "--silent", repository+"/blobs/"+layer.Digest)
	body, err := download.StdoutPipe()
	if err != nil {
		k.Fatal(err)
	}
	download.SysProcAttr = harness.EndsWithUs()
	if err := download.Start(); err != nil {
		k.Fatal(err)
	}
	defer download.Wait()
	start := make([]byte, 1<<10)
	if _, err := io.ReadFull(body, start); err != nil {
		k.Fatal(err)
	}
	var ip string
	caddy.Await(k.T, "a node that still has bytes to send", func() bool {
		ip = k.sender(8080)
		return ip != ""
	})
	nodes[ip].StopSignal = os.Kill
	nodes[ip].Stop()
	rest, err := io.ReadAll(body)
	if got := harness.DigestOf(append(start, rest...)); err != nil || got != layer.Digest {
		k.Errorf("after %s was killed, the client got a layer with the digest %s, %v", ip, got, err)
	}
}

// sender returns an IP address that has unsent bytes on a port, or "".
func (k *kitchen) sender(port int) string {
	k.Helper()
	for line := range strings.Lines(harness.ReadFile(k.T, fmt.Sprintf("/proc/%d/net/tcp", k.PID))) {
		var number, ip, from, to, state, unsent, unread int
		n, _ := fmt.Sscanf(line, "%d: %x:%x %x:%x %x %x:%x", &number, &ip, &from, &to, new(int), &state, &unsent, &unread)
		if n == 8 && from == port && unsent > 0 {
			return net.IPv4(byte(ip), byte(ip>>8), byte(ip>>16), byte(ip>>24)).String()
		}
	}
	return ""
}
