package caddymodule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Each file in testdata is a Caddyfile, a line of ten dashes, and the JSON or
// the error that it adapts to, as in Caddy's own tests.
func TestCaddyfiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatal("no test files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(data), "----------\n")
			if !ok {
				t.Fatal("there is no line of dashes")
			}
			if formatted := caddyfile.Format([]byte(input)); string(formatted) != input {
				t.Errorf("the Caddyfile is not formatted: want\n%s", formatted)
			}
			want = strings.TrimSpace(want)
			got, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
			if err != nil {
				if err.Error() != want {
					t.Errorf("error\n%s\nwant\n%s", err, want)
				}
				return
			}
			if len(warnings) > 0 {
				t.Errorf("warnings: %v", warnings)
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, got, "", "\t"); err != nil {
				t.Fatal(err)
			}
			if indented.String() != want {
				t.Errorf("adapted to\n%s\nwant\n%s", &indented, want)
			}
		})
	}
}

// The example is formatted, and means what its comments say.
func TestExample(t *testing.T) {
	example, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if formatted := caddyfile.Format(example); !bytes.Equal(formatted, example) {
		t.Errorf("Caddyfile.example is not formatted: want\n%s", formatted)
	}
	for env, want := range map[string]string{"": `"store":{}`, "/srv/my images": `"store":{"directory":"/srv/my images"}`} {
		t.Setenv("IPFS_REGISTRY_STORE", env)
		got, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(example, nil)
		if err != nil || len(warnings) > 0 || !strings.Contains(string(got), want) || !strings.Contains(string(got), `":5000"`) {
			t.Errorf("%s, %v, %v", got, warnings, err)
		}
	}

	// The options that are commented out, with no space after the "#", work as well.
	all := regexp.MustCompile(`(?m)^\t\t#(\S|\t)`).ReplaceAll(example, []byte("\t\t$1"))
	got, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(all, nil)
	if err != nil || !strings.Contains(string(got), `"dial_timeout"`) || !strings.Contains(string(got), `"redirect"`) {
		t.Errorf("%s, %v, from\n%s", got, err, all)
	}
	if formatted := caddyfile.Format(all); !bytes.Equal(formatted, all) {
		t.Errorf("the options in comments are not formatted: want\n%s", formatted)
	}
}
