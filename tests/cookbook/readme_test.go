package cookbook

import (
	"archive/tar"
	"archive/zip"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// readmeCooks run the sections of README.md.
var readmeCooks = map[string]cook{
	"See it work": func(k *kitchen, _ harness.Image) {
		k.docker()
		k.importVersions()
		k.startRegistry(k.next())
		k.session()
	},

	"Install": func(k *kitchen, _ harness.Image) {
		k.packRelease()
		k.follow() // installs from the release's archive
		for _, program := range []string{"caddy", "converter"} {
			harness.Run(k.T, k.command("test", "-x", "/usr/local/bin/"+program))
		}
		k.installWithGo(k.next())
		k.buildCaddy(k.next())
		if modules := harness.Run(k.T, k.command("./caddy", "list-modules")); !strings.Contains(modules, "http.handlers.ipfs_registry\n") {
			k.Error("the Caddy that xcaddy built lacks the module")
		}
	},

	"Serve images": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.follow() // the store's Caddyfile
		k.caddy()
		k.pull("registry.example.com/ciq…/team/app", img)

		k.Machine = k.another()
		k.kubo("127.0.0.1")
		k.convert(img, "--ipfs-api=http://127.0.0.1:5001")
		k.write("/etc/caddy/images.txt", k.address+"\n")
		k.follow() // the gateway's Caddyfile
		k.caddy()
		k.pull("registry.example.com/ciq…/team/app", img)
	},

	"Convert images": func(k *kitchen, img harness.Image) {
		k.kubo("127.0.0.1")
		k.serveByName(img)
		k.docker()
		k.have(img)
		k.link(img.Archive, "app.tar")
		want := k.fill("localhost:5000/ciq…/team/app\n")
		if printed := k.follow(); strings.ReplaceAll(printed, want, "") != "" {
			k.Errorf("the converter prints %q, want only lines %q", printed, want)
		}
	},
}

// importVersions imports two versions of an image with one layer into Docker. They differ
// in one small file.
func (k *kitchen) importVersions() {
	k.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	content := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.UintN(256))
		}
		return b
	}
	var files harness.Archive
	add := func(name string, content []byte) {
		files = append(files, harness.Entry{Header: tar.Header{Name: name, Mode: 0o644}, Content: content})
	}
	for i := range 500 {
		add(fmt.Sprintf("usr/share/app/%03d", i), content(int(r.UintN(8000))))
	}
	for i := range 10 {
		add(fmt.Sprintf("usr/lib/app/%d.so", i), content(1_000_000))
	}
	for _, version := range []string{"v1", "v2"} {
		k.link(files.Write(k.T), version+".tar")
		harness.Run(k.T, k.command("docker", "import", version+".tar", harness.ImageName+":"+version))
		files[200].Content = content(4000)
	}
}

// startRegistry runs a block that serves images until the test stops it.
func (k *kitchen) startRegistry(b block) {
	k.Helper()
	d := harness.StartDaemon(k.T, "registry", k.command("bash", "-ec", "exec "+b.text))
	d.AwaitLine(k.T, "Caddy serving images on")
}

var (
	anAddress = regexp.MustCompile(`ciq[a-z2-7]{52}`)
	aCommand  = regexp.MustCompile(`(?m)^\$ (.*)\n((?:[^$].*\n)*)`)
)

// session runs the commands of the next block, a terminal session, and fails the test
// unless each prints what the block shows. ciq… stands for the address that was printed
// last.
func (k *kitchen) session() {
	k.Helper()
	text := k.left[0].text
	k.left = k.left[1:]
	commands := aCommand.FindAllStringSubmatch(text, -1)
	if len(commands) == 0 {
		k.Fatalf("this session has no command:\n%s", text)
	}
	for _, m := range commands {
		printed := harness.Run(k.T, k.command("bash", "-ec", "("+strings.ReplaceAll(m[1], "ciq…", k.address)+") 2>&1"))
		if address := anAddress.FindString(printed); address != "" {
			k.address = address
		}
		if got := anAddress.ReplaceAllString(printed, "ciq…"); got != m[2] {
			k.Errorf("%s\nprints\n%sand the documentation shows\n%s", m[1], got, m[2])
		}
	}
}

// packRelease packs the programs of this checkout as a release archive. It also gives the
// machine an empty /usr/local/bin.
func (k *kitchen) packRelease() {
	k.Helper()
	const name = "caddy-ipfs-registry_1.0.0_linux_amd64"
	const script = `
mount -t tmpfs tmpfs /usr/local/bin
mkdir "$1"
cp "$2"/caddy "$2"/converter "$1"
tar -czf "$1.tar.gz" "$1"
rm -r "$1"`
	harness.Run(k.T, k.command("sh", "-ec", script, "sh", name, harness.InRepo("bin")))
}

// installWithGo runs a block with `go install`. Its module proxies are directories: one
// has this checkout as a version, the other is what Go has downloaded already. It uses
// Go's own caches, so that little is compiled, and removes from them what it added.
func (k *kitchen) installWithGo(b block) {
	k.Helper()
	cache := strings.TrimSpace(harness.Run(k.T, exec.Command("go", "env", "GOMODCACHE")))
	module := strings.TrimSpace(harness.Run(k.T, exec.Command("go", "list", "-m")))
	version := fmt.Sprintf("v0.0.%d", os.Getpid())
	k.Cleanup(func() {
		os.RemoveAll(filepath.Join(cache, module+"@"+version))
		os.RemoveAll(filepath.Join(cache, "cache/download", module))
	})
	installed := k.TempDir()
	install := exec.Command("bash", "-ec", b.text)
	install.Dir = k.dir
	install.Env = append(os.Environ(),
		"GOPROXY=file://"+k.moduleProxy(module, version)+",file://"+filepath.Join(cache, "cache/download"), "GOSUMDB=off", "GOFLAGS=-modcacherw",
		"GOBIN="+installed)
	harness.Build(k.T, install)
	if printed := harness.Run(k.T, exec.Command(filepath.Join(installed, "converter"), "--version")); !strings.Contains(printed, version) {
		k.Errorf("the converter from go install prints the version %s, want %s", printed, version)
	}
	if modules := harness.Run(k.T, exec.Command(filepath.Join(installed, "caddy"), "list-modules")); !strings.Contains(modules, "http.handlers.ipfs_registry\n") {
		k.Error("the Caddy from go install lacks the module")
	}
}

// moduleProxy makes the directory of a module proxy that has this checkout as a version.
func (k *kitchen) moduleProxy(module, version string) (dir string) {
	k.Helper()
	dir = k.TempDir()
	at := filepath.Join(dir, module, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		k.Fatal(err)
	}
	harness.WriteFile(k.T, filepath.Join(at, "list"), version+"\n")
	harness.WriteFile(k.T, filepath.Join(at, version+".info"), `{"Version":"`+version+`"}`)
	harness.WriteFile(k.T, filepath.Join(at, version+".mod"), harness.ReadFile(k.T, harness.InRepo("go.mod")))
	archive, err := os.Create(filepath.Join(at, version+".zip"))
	if err != nil {
		k.Fatal(err)
	}
	defer archive.Close()
	w := zip.NewWriter(archive)
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	list.Dir = harness.InRepo(".")
	for name := range strings.Lines(harness.Run(k.T, list)) {
		name = strings.TrimSuffix(name, "\n")
		if strings.HasPrefix(name, "tests/") {
			continue // other modules are there
		}
		if _, err := os.Stat(harness.InRepo(name)); err != nil {
			continue // deleted, but not in a commit yet
		}
		f, err := w.Create(module + "@" + version + "/" + name)
		if err != nil {
			k.Fatal(err)
		}
		if _, err := f.Write([]byte(harness.ReadFile(k.T, harness.InRepo(name)))); err != nil {
			k.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		k.Fatal(err)
	}
	return dir
}

// serveByName starts https://registry.example.com, which serves the image under its plain
// name, as other registries do.
func (k *kitchen) serveByName(img harness.Image) {
	k.Helper()
	const store = "/var/lib/another-store"
	k.convert(img, "--store="+store)
	k.write("/etc/caddy/Caddyfile", k.fill("registry.example.com {\nipfs_registry {\nstore "+store+"\nroot ciq…\n}\n}\n"))
	k.caddy()
	k.trust()
}
