// Package docs tests that the documentation has every option, command and flag, and that
// its links lead somewhere. Package cookbook runs the examples.
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/caddymodule"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Every field of the handler's JSON is in the table of docs/caddyfile.md.
func TestCaddyfilePageHasEveryJSONName(t *testing.T) {
	page := harness.ReadFile(t, harness.InRepo("docs/caddyfile.md"))
	seen := map[reflect.Type]bool{}
	var check func(reflect.Type)
	check = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] {
			return
		}
		seen[typ] = true
		for _, field := range reflect.VisibleFields(typ) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if !field.IsExported() || name == "" || name == "-" {
				continue
			}
			if !strings.Contains(page, "`"+name+"`") {
				t.Errorf("docs/caddyfile.md lacks `%s` of %s", name, typ)
			}
			check(field.Type)
		}
	}
	check(reflect.TypeFor[caddymodule.Handler]())
	if len(seen) < 4 {
		t.Errorf("the test found only %d types", len(seen))
	}
}

var (
	aCommand = regexp.MustCompile(`(?m)^  ([a-z]+) +[A-Z]`)
	aFlag    = regexp.MustCompile(`(?m)^ +(?:(-\w), )?(--[a-z0-9-]+)`)
)

// Every command of the converter has a section on its page. Every flag is in the section
// of its command, in the section on output, or at the beginning of the page.
func TestConverterPageHasEveryFlag(t *testing.T) {
	harness.Need(t, "bin/converter")
	page := harness.ReadFile(t, harness.InRepo("docs/converter.md"))
	whole := help(t)
	_, commands, _ := strings.Cut(whole, "Available Commands:")
	commands, _, _ = strings.Cut(commands, "\n\n")
	names := aCommand.FindAllStringSubmatch(commands, -1)
	if len(names) < 8 {
		t.Fatalf("the test found only %d commands in\n%s", len(names), whole)
	}
	mustHaveFlags(t, "converter", whole, sectionOf(page, "Converting"))
	for _, m := range names {
		if m[1] == "help" {
			continue
		}
		section := sectionOf(page, m[1])
		if section == "" {
			t.Errorf("docs/converter.md has no section on %s", m[1])
		}
		mustHaveFlags(t, m[1], help(t, m[1]), section)
	}
}

func help(t *testing.T, command ...string) string {
	t.Helper()
	return harness.Run(t, exec.Command(harness.InRepo("bin/converter"), append(command, "--help")...))
}

// sectionOf returns the section whose heading contains a word, together with what all
// commands share: the beginning of the page and the section on output.
func sectionOf(page, name string) string {
	sections := strings.Split(page, "\n## ")
	found := ""
	for _, s := range sections[1:] {
		heading, _, _ := strings.Cut(s, "\n")
		if regexp.MustCompile(`\b` + name + `\b`).MatchString(heading) {
			found = sections[0] + s
		}
		if heading == "Output" && found != "" {
			found += s
		}
	}
	return found
}

func mustHaveFlags(t *testing.T, command, help, section string) {
	t.Helper()
	_, flags, _ := strings.Cut(help, "\nFlags:")
	for _, m := range aFlag.FindAllStringSubmatch(flags, -1) {
		if m[2] == "--help" || m[2] == "--version" {
			continue
		}
		if !regexp.MustCompile(regexp.QuoteMeta(m[2]) + `[^a-z-]`).MatchString(section) {
			t.Errorf("docs/converter.md lacks %s of %s", m[2], command)
		}
	}
}

var (
	aLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	aHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	aFence   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// Every link to a page, or to a heading of a page, leads somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(harness.InRepo("docs/*.md"))
	if err != nil || len(pages) < 5 {
		t.Fatalf("the pages are %v, %v", pages, err)
	}
	pages = append(pages, harness.InRepo("README.md"), harness.InRepo("CHANGELOG.md"))
	for _, page := range pages {
		text := aFence.ReplaceAllString(harness.ReadFile(t, page), "")
		for _, m := range aLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", filepath.Base(page), m[1], err)
				continue
			}
			if anchor != "" && !anchors(harness.ReadFile(t, target))[anchor] {
				t.Errorf("%s links to %s, which is not a heading", filepath.Base(page), m[1])
			}
		}
	}
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range aHeading.FindAllStringSubmatch(aFence.ReplaceAllString(page, ""), -1) {
		heading := strings.ToLower(strings.ReplaceAll(m[1], "`", ""))
		heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(heading, "")
		found[strings.ReplaceAll(heading, " ", "-")] = true
	}
	return found
}

// The programs print every message that docs/operations.md explains.
func TestOperationsPageExplainsRealMessages(t *testing.T) {
	_, messages, _ := strings.Cut(harness.ReadFile(t, harness.InRepo("docs/operations.md")), "\n## Messages\n")
	var code strings.Builder
	for _, dir := range []string{"caddymodule", "internal", "converter", "cmd"} {
		err := filepath.WalkDir(harness.InRepo(dir), func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				code.WriteString(harness.ReadFile(t, path))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	explained := regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(messages, -1)
	if len(explained) < 10 {
		t.Fatalf("the test found only %d messages", len(explained))
	}
	for _, m := range explained {
		if !strings.Contains(code.String(), m[1]) {
			t.Errorf("no program prints %q", m[1])
		}
	}
}
