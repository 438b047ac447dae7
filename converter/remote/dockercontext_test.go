package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// DOCKER_HOST comes before DOCKER_CONTEXT, and that before the context in use.
func TestDockerContextsAreObeyed(t *testing.T) {
	dir := t.TempDir()
	write := func(data string, path ...string) {
		t.Helper()
		file := filepath.Join(append([]string{dir}, path...)...)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, host := range map[string]string{"colima": "unix:///colima.sock", "far": "ssh://far.example", "none": ""} {
		write(`{"Name":"`+name+`","Endpoints":{"docker":{"Host":"`+host+`"}}}`, "contexts", "meta", digest.FromString(name).Encoded(), "meta.json")
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("DOCKER_TLS_VERIFY", "")
	for _, test := range []struct{ config, context, host, want, err string }{
		{"", "", "", defaultDocker, ""},
		{`{"auths":{}}`, "", "", defaultDocker, ""},
		{`{"currentContext":"default"}`, "", "", defaultDocker, ""},
		{`{"currentContext":"colima"}`, "", "", "unix:///colima.sock", ""},
		{`{"currentContext":"colima"}`, "default", "", defaultDocker, ""},
		{`{"currentContext":"gone"}`, "colima", "", "unix:///colima.sock", ""},
		{`{"currentContext":"gone"}`, "", "unix:///mine.sock", "unix:///mine.sock", ""},
		{`{"currentContext":"gone"}`, "", "", "", `no Docker context "gone"`},
		{`{"currentContext":"far"}`, "", "", "", `Docker context "far" is ssh://far.example`},
		{`{"currentContext":"none"}`, "", "", "", "names no daemon"},
		{`{`, "", "", "", "config.json"},
	} {
		write(test.config, "config.json")
		if test.config == "" {
			os.Remove(filepath.Join(dir, "config.json"))
		}
		t.Setenv("DOCKER_CONTEXT", test.context)
		t.Setenv("DOCKER_HOST", test.host)
		d, err := FindDocker()
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%+v: the error is %v", test, err)
			}
		case err != nil || d.host != test.want:
			t.Errorf("%+v: %v, %v", test, d, err)
		}
	}
}
