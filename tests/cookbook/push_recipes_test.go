package cookbook

import (
	"path/filepath"
	"regexp"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// pushCooks run the recipes of docs/cookbook.md about pushing.
var pushCooks = map[string]cook{
	"Push with a password, pull without": func(k *kitchen, img harness.Image) {
		k.follow() // the Caddyfile
		k.caddy()
		k.trust()
		k.docker()
		k.have(img)
		harness.Run(k.T, k.command("docker", "tag", harness.ImageName+":v1", "private.example.com/team/app:v1"))
		if _, stderr, err := harness.Try(k.command("docker", "push", "private.example.com/team/app:v1")); err == nil {
			k.Errorf("Docker pushes without the password: %s", stderr)
		}
		k.follow()
		k.forget()
		k.follow()
		k.mustHave(img, "registry.example.com/team/app:v1")
	},

	"Pushing from GitLab or GitHub": func(k *kitchen, img harness.Image) {
		k.follow() // the Caddyfile
		k.caddy()
		k.trust()
		k.docker()
		k.have(img)
		job, pull := k.next(), k.next()
		commit := regexp.MustCompile(`[0-9a-f]{40}`).FindString(pull.text)
		harness.WriteFile(k.T, filepath.Join(k.dir, "Dockerfile"), "FROM "+harness.ImageName+":v1\n")
		for _, variable := range []string{"CI_COMMIT_SHA=" + commit, "GITHUB_SHA=" + commit} {
			harness.Run(k.T, k.command("env", variable, "REGISTRY_PASSWORD=correct horse", "bash", "-ec", job.text))
		}
		k.forget()
		harness.Run(k.T, k.command("sh", "-ec", pull.text))
		k.mustHave(img, "registry.example.com/team/app:"+commit)
	},

	"A private push host and a public read host": func(k *kitchen, img harness.Image) {
		harness.Need(k.T, "curl")
		k.follow() // the Caddyfile
		k.write("/etc/docker/daemon.json", `{"insecure-registries": ["registry.lan:5000"]}`)
		k.caddy()
		k.trust()
		k.docker()
		k.have(img)
		k.follow()
		k.forget()
		k.follow()
		k.mustHave(img, "registry.example.com/team/app:v1")
		harness.Run(k.T, k.command("docker", "tag", "registry.example.com/team/app:v1", "registry.example.com/team/app:v2"))
		if _, stderr, err := harness.Try(k.command("docker", "push", "registry.example.com/team/app:v2")); err == nil {
			k.Errorf("Docker pushes to the public host: %s", stderr)
		}
		if _, _, err := harness.Try(k.command("curl", "--silent", "http://127.0.0.1:5000/v2/")); err == nil {
			k.Error("the push host listens on another address as well")
		}
	},

	"Removing old versions": func(k *kitchen, _ harness.Image) {
		harness.Need(k.T, "bin/crane", "curl")
		k.follow() // the Caddyfile
		k.caddy()
		k.trust()
		for _, tag := range []string{"v1", "v2", "v10"} {
			archive := harness.ArchiveOfLayers(k.T, "team/app:"+tag, "of "+tag)
			harness.Run(k.T, k.command("sh", "-ec", `echo correct horse | crane auth login private.example.com --username pusher --password-stdin; crane push "$1" private.example.com/team/app:"$2"`, "sh", archive, tag))
		}
		k.follow()
		if left := harness.Run(k.T, k.command("crane", "ls", "private.example.com/team/app")); left != "v10\nv2\n" {
			k.Errorf("the tags are %q, want v10 and v2", left)
		}
		k.follow()
		harness.Run(k.T, k.command("converter", "rollback", "1", "--store=/srv/images")) // a week has not passed
		if left := harness.Run(k.T, k.command("crane", "ls", "private.example.com/team/app")); left != "v1\nv10\nv2\n" {
			k.Errorf("the tags are %q after a rollback", left)
		}
	},
}
