package oddarchive

import (
	"bytes"
	"slices"
	"strings"
)

// Archives in the shapes that builders give them.
func builderCases() []*Case {
	gz := func(i image) [][]byte {
		var stored [][]byte
		for _, l := range i.layers {
			stored = append(stored, gzipped(l))
		}
		return stored
	}
	jib, rules, kaniko := newImage("jib"), newImage("rules-oci"), newImage("kaniko")
	nix := imageOf("nix", layerOf("nix"), tarOf([]entry{directory("nix/"), directory("nix/store/"), regular("nix/store/abc", []byte("x"))}))
	ko := imageOf("ko", layerOf("ko"), tarOf([]entry{regular("a", []byte("a"))}), layerOf("ko"))
	return []*Case{
		newCase("jib: config.json and HEX.tar.gz").
			file("a.tar", tarOf(jib.dockerAs("%s.tar.gz", "config.json", gz(jib), []string{"gcr.io/proj/jib:latest"}))).
			run(Taken(jib.id()), "-i", "{d}/a.tar"),
		newCase("rules_oci: blobs/sha256/HEX.tar.gz without index.json").
			file("a.tar", tarOf(rules.dockerAs("blobs/sha256/%s.tar.gz", "blobs/sha256/%s", gz(rules), []string{"my/rules:latest"}))).
			run(Taken(rules.id()), "-i", "{d}/a.tar"),
		newCase("nix dockerTools: gzipped, with a store hash for a tag").
			file("a.tar.gz", gzipped(tarOf(nix.docker("hello-nix:0b2cnzs5qk8z1zsxyjyxjnb2lzm5rv4a")))).
			run(Taken(nix.id()).Named("hello-nix:0b2cnzs5qk8z1zsxyjyxjnb2lzm5rv4a"), "-i", "{d}/a.tar.gz"),
		newCase("ko, kaniko, crane: sha256:HEX, a layer twice, two names").
			file("a.tar", tarOf(ko.dockerAs("%s.tar.gz", "sha256:%s", gz(ko), []string{"ko.local/app-d41d8c:latest", "ko.local/app-d41d8c:v1"}))).
			run(Taken(ko.id()).Named("app-d41d8c:latest", "app-d41d8c:v1"), "-i", "{d}/a.tar"),
		newCase("RepoTags is null").
			file("a.tar", tarOf(kaniko.dockerAs("%s.tar.gz", "sha256:%s", gz(kaniko), nil))).
			run(Taken(kaniko.id()), "-i", "{d}/a.tar"),
	}
}

// Documents that were edited or written by hand.
func documentCases() []*Case {
	bom := func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }
	i := newImage("documents")
	f := i.docker("app/edited:v1")
	l := layoutOf(i)
	config, layer := f[0].name, layerNameOf(f)
	list := func(config, layer string) []byte {
		return encode([]dockerEntry{{config, []string{"app/edited:v1"}, []string{layer}}})
	}
	edited := func(list []byte) []byte { return tarOf(replace(f, "manifest.json", list)) }
	lower := encode([]object{{"config": config, "repotags": []string{"app/edited:v1"}, "layers": []string{layer}}})
	one := encode(dockerEntry{config, []string{"app/edited:v1"}, []string{layer}})
	return append([]*Case{
		newCase("manifest.json begins with a byte order mark").file("a.tar", edited(bom(dataOf(f, "manifest.json")))).
			run(Taken(i.id()), "-i", "{d}/a.tar"),
		newCase("index.json begins with a byte order mark").layout(replace(l, "index.json", bom(dataOf(l, "index.json")))).
			run(Taken(i.id()).AsIs(), "-i", "{d}/a.tar", "--name", "app").
			run(Taken(i.id()).AsIs(), "oci:{d}/l", "--name", "app"),
		newCase("index.json without schemaVersion").layout(replace(l, "index.json", bytes.Replace(dataOf(l, "index.json"), []byte(`,"schemaVersion":2`), nil, 1))).
			run(Taken(i.id()).AsIs(), "-i", "{d}/a.tar", "--name", "app"),
		newCase("manifest.json has keys in lower case").file("a.tar", edited(lower)).
			run(Taken(i.id()), "-i", "{d}/a.tar"),
		newCase("manifest.json is one object and no list").file("a.tar", edited(one)).
			run(Refused("manifest.json", "list"), "-i", "{d}/a.tar"),
		newCase("manifest.json is cut off").file("a.tar", edited(list(config, layer)[:20])).
			run(Refused("manifest.json"), "-i", "{d}/a.tar"),
		newCase("paths in manifest.json begin with ./").
			file("a.tar", tarIn("./", replace(f, "manifest.json", list("./"+config, "./"+layer)))).
			run(Taken(i.id()), "-i", "{d}/a.tar"),
	}, backslashCases()...)
}

// Archives that were saved or packed on Windows.
func backslashCases() []*Case {
	i := newImage("backslash")
	f := i.docker("app/back:v1")
	list := bytes.ReplaceAll(dataOf(f, "manifest.json"), []byte("/layer.tar"), []byte(`\\layer.tar`))
	inDocument := replace(f, "manifest.json", list)
	inEntries := func(entries []entry) []byte {
		entries = slices.Clone(entries)
		for n, e := range entries {
			entries[n].name = strings.ReplaceAll(e.name, "/", `\`)
		}
		return tarOf(entries)
	}
	want := Taken(i.id()).Named("app/back:v1")
	return []*Case{
		newCase("backslashes in manifest.json").file("a.tar", tarOf(inDocument)).run(want, "-i", "{d}/a.tar"),
		newCase("backslashes in the names of entries").file("a.tar", inEntries(f)).run(want, "-i", "{d}/a.tar"),
		newCase("backslashes in both").file("a.tar", inEntries(inDocument)).run(want, "-i", "{d}/a.tar"),
		newCase("backslashes in the names of a layout's entries").file("a.tar", inEntries(layoutOf(i))).
			run(Taken(i.id()).AsIs(), "-i", "{d}/a.tar", "--name", "app"),
	}
}
