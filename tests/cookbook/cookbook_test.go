package cookbook

import (
	"regexp"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// pages are those whose blocks are typed, each with who can type its sections.
var pages = map[string]map[string]cook{
	"docs/cookbook.md":  cooks,
	"README.md":         readmeCooks,
	"docs/caddyfile.md": caddyfileCooks,
	"docs/converter.md": converterCooks,
}

// A cook follows the blocks of a section, and does first what these take for granted.
type cook func(k *kitchen, img harness.Image)

// The documentation is right as it stands: every block in it is typed, one after the
// other, and works.
func TestEveryExampleInTheDocsWorks(t *testing.T) {
	harness.Parallel(t)
	img := harness.DockerImage(t)
	for page, cooks := range pages {
		t.Run(page, func(t *testing.T) { cookPage(t, page, cooks, img) })
	}
}

func cookPage(t *testing.T, page string, cooks map[string]cook, img harness.Image) {
	harness.Parallel(t)
	cooked := map[string]bool{}
	for _, r := range recipes(t, page) {
		if len(r.blocks) == 0 && cooks[r.name] == nil {
			continue
		}
		cooked[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			harness.ParallelFor(t, 15*time.Minute) // some recipes build Caddy
			cook := cooks[r.name]
			if cook == nil {
				t.Fatal("no cook can follow this section")
			}
			k := newKitchen(t, r, img)
			cook(k, img)
			if len(k.left) > 0 {
				t.Errorf("this was not used:\n%s", k.left[0].text)
			}
		})
	}
	for name := range cooks {
		if !cooked[name] {
			t.Errorf("there is no section %q", name)
		}
	}
}

// A recipe is a section of a page.
type recipe struct {
	name   string
	blocks []block
}

// A block is what a reader puts into a file, or runs if there is no file.
type block struct{ language, file, text string }

var (
	aRecipe = regexp.MustCompile(`(?m)^## (.+)\n`)
	// The file is the last that is named in the line before a block.
	aBlock = regexp.MustCompile("(?m)(?:^.*`(/[^`]+)`.*\\n\\n)?^```(\\w+)\\n((?s:.*?))^```$")
)

// recipes reads the sections of a page.
func recipes(t *testing.T, page string) (recipes []recipe) {
	t.Helper()
	text := harness.ReadFile(t, harness.InRepo(page))
	headings := aRecipe.FindAllStringSubmatchIndex(text, -1)
	for i, at := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		r := recipe{name: text[at[2]:at[3]]}
		for _, m := range aBlock.FindAllStringSubmatch(text[at[1]:end], -1) {
			b := block{language: m[2], file: m[1], text: m[3]}
			if isScript := b.language == "sh" || b.language == "bash"; isScript {
				b.file = ""
			}
			r.blocks = append(r.blocks, b)
		}
		recipes = append(recipes, r)
	}
	return recipes
}
