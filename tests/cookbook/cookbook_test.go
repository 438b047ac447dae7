package cookbook

import (
	"maps"
	"regexp"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// pages are the pages whose examples are run, with the cooks of their sections.
var pages = map[string]map[string]cook{
	"docs/cookbook.md":  merged(cooks, pushCooks),
	"README.md":         readmeCooks,
	"docs/caddyfile.md": caddyfileCooks,
	"docs/converter.md": converterCooks,
}

func merged(all ...map[string]cook) map[string]cook {
	whole := map[string]cook{}
	for _, cooks := range all {
		maps.Copy(whole, cooks)
	}
	return whole
}

// A cook prepares what a section takes for granted, and runs its blocks.
type cook func(k *kitchen, img harness.Image)

// Every example in the documentation works as it is printed there: each block is used,
// one after the other.
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
			harness.ParallelFor(t, harness.BuildBound) // some recipes build Caddy
			cook := cooks[r.name]
			if cook == nil {
				t.Fatal("no cook runs this section")
			}
			k := newKitchen(t, r, img)
			cook(k, img)
			if len(k.left) > 0 {
				t.Errorf("the cook did not use this block:\n%s", k.left[0].text)
			}
		})
	}
	for name := range cooks {
		if !cooked[name] {
			t.Errorf("a cook exists for %q, which is no section of %s", name, page)
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
	// A block's file is the last one that the line before the block names.
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
