package cookbook

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// caddyfileCooks run the sections of docs/caddyfile.md. Most of its blocks show the syntax
// of an option, which Caddy validates; the cookbook uses most options.
var caddyfileCooks = map[string]cook{
	"Smallest": func(k *kitchen, _ harness.Image) {
		k.validate()
		harness.Run(k.T, k.command("mkdir", "-p", "/srv/images"))
		k.startRegistry(k.next())
		if status := k.status("http://localhost:5000/v2/"); status != "200" {
			k.Errorf("the registry answers with %s", status)
		}
	},

	"Syntax": func(k *kitchen, _ harness.Image) {
		code := harness.ReadFile(k.T, harness.InRepo("caddymodule/caddyfile.go"))
		_, comment, _ := strings.Cut(code, "Syntax:\n//\n")
		comment, _, _ = strings.Cut(comment, "\n//\n")
		comment = strings.ReplaceAll(regexp.MustCompile(`(?m)^//\t?`).ReplaceAllString(comment, ""), "    ", "\t")
		if page := k.next().text; strings.TrimSpace(page) != strings.TrimSpace(comment) {
			k.Errorf("the page has\n%s\nand UnmarshalCaddyfile's comment\n%s", page, comment)
		}
	},

	"gateway": (*kitchen).validateWith,
	"store":   (*kitchen).validateWith,
	"blobs":   (*kitchen).validateWith,
	"names":   (*kitchen).validateWith,
	"root":    (*kitchen).validateWith,
	"push":    (*kitchen).validateWith,
	"provide": (*kitchen).validateWith,

	"private": (*kitchen).validateWith,

	"The matcher ipfs_image": func(k *kitchen, _ harness.Image) {
		code := harness.ReadFile(k.T, harness.InRepo("caddymodule/match.go"))
		if syntax := strings.TrimSpace(k.next().text); !strings.Contains(code, "Syntax:\n//\n//\t"+syntax+"\n") {
			k.Errorf("the page has %q, which UnmarshalCaddyfile's comment lacks", syntax)
		}
	},

	"deny and allow": func(k *kitchen, _ harness.Image) {
		k.write("/etc/caddy/badbits.deny", "/ipfs/"+harness.CIDv1(k.T, k.address)+"\n")
		k.write("/etc/caddy/images.txt", "# team/app\n"+k.address+"\n")
		k.validate()
	},

	"JSON": func(k *kitchen, _ harness.Image) {
		want := k.next().text
		for _, r := range recipes(k.T, "docs/caddyfile.md") {
			if r.name == "store" {
				k.write("/etc/caddy/Caddyfile", r.blocks[0].text)
			}
		}
		adapted := harness.Run(k.T, k.command("caddy", "adapt", "--config=/etc/caddy/Caddyfile", "--adapter=caddyfile"))
		if !strings.Contains(adapted, strings.TrimSpace(want)) || !json.Valid([]byte(want)) {
			k.Errorf("caddy adapt prints\n%s\nwhich lacks\n%s", adapted, want)
		}
	},
}

// validate has Caddy validate every Caddyfile of the section, and check its format.
func (k *kitchen) validate() {
	k.Helper()
	for len(k.left) > 0 && k.left[0].language == "caddyfile" {
		k.follow()
		harness.Run(k.T, k.command("env", "GATEWAY_TOKEN=secret", "caddy", "validate", "--config=/etc/caddy/Caddyfile", "--adapter=caddyfile"))
		if said, err := k.command("caddy", "fmt", "--diff", "/etc/caddy/Caddyfile").CombinedOutput(); err != nil {
			k.Errorf("caddy fmt would change it:\n%s", said)
		}
	}
}

func (k *kitchen) validateWith(harness.Image) {
	k.Helper()
	k.validate()
}

// converterCooks run the sections of docs/converter.md.
var converterCooks = map[string]cook{
	"Converting": func(k *kitchen, img harness.Image) {
		k.kubo("127.0.0.1")
		k.serveByName(img)
		k.docker()
		k.have(img)
		k.link(img.Archive, "app.tar")
		want := k.fill("localhost:5000/ciq…/team/app\n")
		if printed := k.follow(); printed != strings.Repeat(want, 4) {
			k.Errorf("the converter prints %q", printed)
		}
		printed := k.follow()
		onto, added := strings.CutPrefix(printed, want+want)
		if !added || onto == want || !strings.HasSuffix(onto, "/team/app\n") {
			k.Errorf("the converter prints %q", printed)
		}
	},

	"copy": func(k *kitchen, img harness.Image) {
		k.kubo("127.0.0.1")
		k.convert(img)
		if printed, want := k.follow(), k.fill("localhost:5000/ciq…/team/app\n"); printed != strings.Repeat(want, 4) {
			k.Errorf("the converter prints %q", printed)
		}
	},

	"export": func(k *kitchen, img harness.Image) {
		k.docker()
		k.convert(img)
		if printed := k.follow(); !strings.Contains(printed, "Loaded image") {
			k.Errorf("docker load prints %q", printed)
		}
		k.mustHave(img, harness.ImageName+":v1")
		harness.Run(k.T, k.command("docker", "load", "--input=app.tar"))
	},

	"inspect": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.convert(img, "--car=app.car")
		printed := k.follow()
		text, document, _ := strings.Cut(printed, "{")
		if !strings.Contains(text, "team/app") || !json.Valid([]byte("{"+document)) {
			k.Errorf("inspect prints %q", printed)
		}
	},

	"verify": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.convert(img, "--car=app.car")
		if printed := k.follow(); strings.Count(printed, k.fill("localhost:5000/ciq…/team/app")) != 3 {
			k.Errorf("verify prints %q", printed)
		}
	},

	"images, rm, gc": func(k *kitchen, img harness.Image) {
		k.convert(img)
		if printed := k.follow(); strings.Count(printed, k.address) != 2 {
			k.Errorf("images and rm prints %q", printed)
		}
		if printed := harness.Run(k.T, k.command("converter", "images")); strings.Contains(printed, k.address) {
			k.Errorf("after rm, images still prints the image: %q", printed)
		}
	},

	"log, rollback": func(k *kitchen, img harness.Image) {
		k.serveByName(img)
		k.convert(img, "--onto=root", "--tag=v0")
		printed := k.follow()
		lines := strings.Split(strings.TrimSpace(printed), "\n")
		state, earlier := lines[len(lines)-1], lines[len(lines)-2]
		if !strings.Contains(earlier, "convert team/app:v0") || !strings.Contains(earlier, state) {
			k.Errorf("the converter prints %q", printed)
		}
	},

	"key": func(k *kitchen, img harness.Image) {
		k.convert(img, "--onto=root")
		names := strings.Fields(k.follow())
		if len(names) != 2 || !strings.HasPrefix(names[0], "k51") || names[1] != names[0] {
			k.Errorf("key prints %q", names)
		}
	},

	"publish": func(k *kitchen, img harness.Image) {
		k.convert(img, "--onto=root")
		name := strings.TrimSpace(harness.Run(k.T, k.command("converter", "key")))
		if printed := k.follow(); !strings.Contains(printed, name) {
			k.Errorf("publish prints %q", printed)
		}
	},

	"name, completion": func(k *kitchen, img harness.Image) {
		k.convert(img)
		k.convert(img, "--onto=root")
		k.write("/etc/caddy/Caddyfile", "http://localhost:5000 {\n\tipfs_registry {\n\t\tstore /var/lib/ipfs-registry\n\t\troot\n\t}\n}\n")
		k.caddy()
		if printed := k.follow(); !strings.Contains(printed, k.fill("bafy…")) || strings.Count(printed, "CIDv0") != 3 {
			k.Errorf("name prints %q", printed)
		}
		for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
			harness.Run(k.T, exec.Command(harness.InRepo("bin/converter"), "completion", shell))
		}
	},
}
