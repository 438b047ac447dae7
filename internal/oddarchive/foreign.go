package oddarchive

import (
	"fmt"
	"strings"
)

// Files that people give instead of an archive, and files with an archive inside.
func foreignCases() []*Case {
	ancient, dir := newImage("ancient"), newImage("skopeo-dir")
	prefixed, inside := newImage("prefixed"), newImage("inside")
	save := Refused("docker export", "docker save")
	return []*Case{
		newCase("docker save of before 1.10").file("a.tar", tarOf(beforeManifests(ancient))).
			run(Refused("before Docker 1.10", "docker load", "docker save"), "-i", "{d}/a.tar"),
		skopeoDir(dir),
		newCase("docker export, small").file("a.tar", tarOf(fileSystem(0))).run(save, "-i", "{d}/a.tar"),
		newCase("docker export of 66,000 files").file("a.tar", tarOf(fileSystem(66000))).run(save, "-i", "{d}/a.tar"),
		newCase("docker archive with a directory in front").
			file("a.tar", tarIn("image/", prefixed.docker("app/pre:v1"))).
			run(Refused(`"image"`, "tar -C"), "-i", "{d}/a.tar"),
		newCase("OCI layout with a directory in front").
			file("a.tar", tarIn("image/", layoutOf(prefixed))).
			run(Refused(`"image"`, "tar -C"), "-i", "{d}/a.tar"),
		newCase("archive in an archive").
			file("a.tar", tarOf([]entry{regular("app.tar", tarOf(inside.docker("app/inside:v1"))), regular("README", []byte("two archives\n"))})).
			run(Refused(`"app.tar"`, "tar -xO"), "-i", "{d}/a.tar"),
		newCase("layout that names nothing, as umoci init writes it").layout(new(layout).entries()).
			run(Refused("no image"), "-i", "{d}/a.tar").
			run(Refused("no image"), "oci:{d}/l"),
	}
}

// beforeManifests returns the files of an archive from before Docker 1.10.
func beforeManifests(i image) []entry {
	id := strings.Repeat("1", 64)
	return []entry{
		directory(id + "/"),
		regular(id+"/VERSION", []byte("1.0")),
		regular(id+"/json", encode(object{"id": id, "created": "2014-01-02T03:04:05Z", "architecture": "amd64", "os": "linux", "config": object{"Cmd": []string{"/hello"}}})),
		regular(id+"/layer.tar", i.layers[0]),
		regular("repositories", encode(object{"app/ancient": object{"v1": id}})),
	}
}

// skopeoDir is what `skopeo copy ... dir:` writes, which only skopeo and its relatives
// read.
func skopeoDir(i image) *Case {
	var l layout
	m := l.putImage(i, types{dockerManifest, dockerConfig, dockerGzip}, gzipped(i.layers[0]))
	files := []entry{regular("version", []byte("Directory Transport Version: 1.1\n"))}
	for _, b := range l.blobs {
		name := strings.TrimPrefix(b.name, "blobs/sha256/")
		if digestOf(b.data) == m["digest"] {
			name = "manifest.json"
		}
		files = append(files, regular(name, b.data))
	}
	help := Refused("skopeo copy dir:", "oci:")
	return newCase("directory of skopeo copy dir:").tree("x", files).file("a.tar", tarOf(files)).
		run(help, "dir:{d}/x").
		run(help, "-i", "{d}/x").
		run(help, "-i", "{d}/a.tar").
		run(help, "oci:{d}/x")
}

// fileSystem returns the files of a container, and as many more.
func fileSystem(more int) []entry {
	entries := []entry{
		directory("bin/"), directory("etc/"), regular("etc/passwd", []byte("root:x:0:0::/:/hello\n")),
		regular("hello", programOf("export")), symlink("lib", "usr/lib"),
	}
	for n := range more {
		entries = append(entries, regular(fmt.Sprintf("usr/share/%05d", n), nil))
	}
	return entries
}
