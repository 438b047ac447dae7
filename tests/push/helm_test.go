package push

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Helm pushes a chart and pulls the same bytes, by version, by digest and by address.
func TestHelmChart(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/helm")
	home := t.TempDir()
	helm := func(args ...string) string {
		cmd := exec.Command(harness.InRepo("bin/helm"), args...)
		cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
		return harness.Run(t, cmd)
	}
	chart := filepath.Join(t.TempDir(), "app")
	for name, content := range map[string]string{
		"Chart.yaml":            "apiVersion: v2\nname: app\nversion: 1.2.3+build.4\n",
		"values.yaml":           "greeting: hello\n",
		"templates/config.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  greeting: {{ .Values.greeting }}\n",
	} {
		harness.WriteFile(t, filepath.Join(chart, name), content)
	}
	packaged := t.TempDir()
	helm("package", chart, "--destination="+packaged)
	file := filepath.Join(packaged, "app-1.2.3+build.4.tgz")
	pull := func(ref string, args ...string) string {
		to := t.TempDir()
		helm(append([]string{"pull", "oci://" + ref, "--plain-http", "--destination=" + to}, args...)...)
		files, err := filepath.Glob(filepath.Join(to, "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("helm pull %s writes %v, %v", ref, files, err)
		}
		return harness.ReadFile(t, files[0])
	}

	caddy := newRegistry(t, t.TempDir())
	const tag = "1.2.3_build.4"
	for range 2 {
		helm("push", file, "oci://"+caddy.Host()+"/charts", "--plain-http")
		digest := mustBe(t, caddy, 200, "charts/app", tag).Header.Get("Docker-Content-Digest")
		address := addressOf(t, caddy, "charts/app", tag)
		for name, got := range map[string]string{
			"version": pull(caddy.Host()+"/charts/app", "--version=1.2.3+build.4"),
			"digest":  pull(caddy.Host() + "/charts/app@" + digest),
			"address": pull(caddy.Host()+"/"+address, "--version=1.2.3+build.4"),
		} {
			if got != harness.ReadFile(t, file) {
				t.Errorf("by its %s, the chart has %d other bytes", name, len(got))
			}
		}
		send(t, 202, "DELETE", caddy.URL+"/v2/charts/app/manifests/"+digest, "")
		mustBe(t, caddy, 404, "charts/app", tag)
	}
}
