package oddarchive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

// Layers with all that a tar can hold. The converter must hand on the tar unchanged.
func layerTarCases() []*Case {
	program := func(name string) []byte { return header{name: "hello", mode: 0o755}.member(programOf(name)) }
	zoo := imageOf("zoo", tarOf([]entry{regular("d/gone", []byte("x")), regular("d/opaque/x", []byte("x"))}), zooLayer(program("zoo")))
	twice := imageOf("path-twice", inOrder(program("path-twice"), header{name: "dup"}.member([]byte("first")), header{name: "dup"}.member([]byte("second, longer")), end))
	early := imageOf("early-link", inOrder(program("early-link"), header{name: "hard", kind: '1', link: "later"}.member(nil), header{name: "later"}.member([]byte("x")), end))
	sized := imageOf("pax-size", inOrder(program("pax-size"), pax(false, [2]string{"size", "700"}), header{name: "f"}.withoutSize(bytes.Repeat([]byte("y"), 700)), header{name: "g"}.member([]byte("after")), end))
	return []*Case{
		newCase("layer with everything that a tar can hold").file("a.tar", tarOf(zoo.docker("app/zoo:v1"))).
			run(Taken(zoo.id()), "-i", "{d}/a.tar").
			run(Taken(zoo.id()), "-i", "{d}/a.tar", "--compression", "none"),
		newCase("layer with a path twice").file("a.tar", tarOf(twice.docker("app/dup:v1"))).
			run(Taken(twice.id()).PulledBy("skopeo"), "-i", "{d}/a.tar"),
		newCase("layer with a hard link before its target").file("a.tar", tarOf(early.docker("app/early:v1"))).
			run(Taken(early.id()).PulledBy("skopeo"), "-i", "{d}/a.tar"),
		newCase("layer with a size in a pax record").file("a.tar", tarOf(sized.docker("app/paxsize:v1"))).
			run(Taken(sized.id()), "-i", "{d}/a.tar"),
	}
}

func zooLayer(program []byte) []byte {
	file := func(name, content string) []byte { return header{name: name}.member([]byte(content)) }
	long := "d/" + strings.Repeat("n", 150)
	return inOrder(
		pax(true, [2]string{"comment", "0123456789abcdef0123456789abcdef01234567"}),
		program,
		header{name: "d/", kind: '5', mode: 0o755}.member(nil),
		header{name: "././@LongLink", kind: 'L', magic: gnu}.member([]byte(long+"\x00")), header{name: long, magic: gnu}.member([]byte("gnu long")),
		pax(false, [2]string{"path", "d/" + strings.Repeat("p", 200)}), file("short", "pax long"),
		header{name: "prefixed", tail: "d/" + strings.Repeat("q", 60)}.member([]byte("ustar prefix")),
		file("orig", "target"), header{name: "hard", kind: '1', link: "orig"}.member(nil), header{name: "sym", kind: '2', link: "/nowhere/at/all"}.member(nil),
		file("d/.wh.gone", ""), header{name: "d/opaque/", kind: '5', mode: 0o755}.member(nil), file("d/opaque/.wh..wh..opq", ""),
		file("d/caf\xe9", "latin-1"), pax(false, [2]string{"path", "d/\u20ac.txt"}), file("d/euro", "utf-8"),
		header{name: "chr", kind: '3', major: 1, minor: 3}.member(nil), header{name: "blk", kind: '4', major: 7}.member(nil), header{name: "fifo", kind: '6'}.member(nil),
		pax(false, [2]string{"SCHILY.xattr.user.bin", "\x00\xff\nx=y"}, [2]string{"mtime", "1700000000.123456789"}), file("xattr", "x"),
		header{name: "biguid", uid: "\x80\x00\x00\x00\x7f\xff\xff\xfe", magic: gnu}.member([]byte("u")),
		header{name: "old", mtime: strings.Repeat("\xff", 11) + "\x01", magic: gnu}.member([]byte("before 1970")),
		header{name: "suid", mode: 0o4755}.member([]byte("s")), header{name: "v7", kind: '\x00', magic: v7}.member([]byte("v7")), file("empty", ""),
		file("./dot/../dots", "dots"), end)
}

// Layers that end oddly.
func layerEndCases() []*Case {
	base := layerOf("ends")
	var cases []*Case
	for n, c := range []struct {
		name string
		data []byte
		want Want
	}{
		{"layer of no bytes", nil, Want{}},
		{"layer of 1024 zeros", make([]byte, 1024), Want{}},
		{"layer of one block of zeros", make([]byte, blockSize), Want{}},
		{"layer without an end", padded(bytes.TrimRight(base, "\x00")), Want{}},
		{"layer with junk after its end", append(bytes.Clone(base), bytes.Repeat([]byte("junk"), 200)...), Want{}},
		{"layer of 3 bytes, which is no tar", []byte("abc"), Want{Pullable: []string{"skopeo"}}},
	} {
		i := imageOf(c.name, layerOf(c.name), c.data)
		c.want.Configs = []string{i.id()}
		entries := []entry{
			regular(hexOf(i.config)+".json", i.config), regular("0/layer.tar", i.layers[0]), regular("1/layer.tar", i.layers[1]),
			regular("manifest.json", encode([]dockerEntry{{hexOf(i.config) + ".json", []string{fmt.Sprintf("app/ends:%d", n)}, []string{"0/layer.tar", "1/layer.tar"}}})),
		}
		cases = append(cases, newCase(c.name).file("a.tar", tarOf(entries)).run(c.want, "-i", "{d}/a.tar"))
	}
	return cases
}

// Images of many layers, and of a large config.
func layerCountCases() []*Case {
	var cases []*Case
	for _, n := range []int{125, 127, 300} {
		name := fmt.Sprintf("%d layers", n)
		layers := [][]byte{layerOf(name)}
		for k := range n - 1 {
			layers = append(layers, tarOf([]entry{regular(fmt.Sprintf("f%d", k), fmt.Append(nil, k))}))
		}
		i := imageOf(name, layers...)
		want := Taken(i.id())
		if n > 125 { // which is all that Docker's overlay2 mounts
			want = want.PulledBy("podman", "skopeo")
		}
		if n > 128 {
			want = want.PulledBy("skopeo")
		}
		cases = append(cases, newCase(name).file("a.tar", tarOf(i.docker("app/many:v1"))).run(want, "-i", "{d}/a.tar"))
	}
	for _, size := range []int{3, 5} {
		name := fmt.Sprintf("config of %d MiB", size)
		i := imageFor(name, object{"config": object{"Cmd": []string{"/hello"}, "Labels": object{"io.buildpacks.sbom": strings.Repeat("x", size<<20)}}}, layerOf(name))
		want := Taken(i.id())
		if size > 4 {
			want = want.PulledBy("docker")
		}
		cases = append(cases, newCase(name).file("a.tar", tarOf(i.docker("app/big:v1"))).tree("l", layoutOf(i)).
			run(want, "-i", "{d}/a.tar").
			run(want.AsIs(), "oci:{d}/l:v1", "--name", "app"))
	}
	return cases
}

// Layers whose media type or gzip is odd.
func layerTypeCases() []*Case {
	plain, gz, zst := newImage("plain-as-gzip"), newImage("gzip-as-plain"), newImage("zstd-as-gzip")
	fields, members, stored := newImage("gzip-fields"), newImage("bgzip"), newImage("gzip-stored")
	app := []string{"-i", "{d}/a.tar", "--name", "app"}
	gzipCase := func(name string, i image, layer []byte, clients ...string) *Case {
		return newCase(name).layout(layoutAs(i, ociGzip, layer)).
			run(Taken(i.id()).AsIs().PulledBy(clients...), app...).
			run(Taken(i.id()), append(app[:len(app):len(app)], "--recompress")...)
	}
	return []*Case{
		newCase("plain layer labelled tar+gzip").layout(layoutAs(plain, ociGzip, plain.layers[0])).
			run(Taken(plain.id()), app...),
		newCase("gzipped layer labelled tar").layout(layoutAs(gz, ociLayer, gzipped(gz.layers[0]))).
			run(Taken(gz.id()).PulledBy("podman", "skopeo"), app...),
		newCase("zstd layer labelled tar+gzip").layout(layoutAs(zst, ociGzip, zstdFrame(zst.layers[0]))).
			run(Taken(zst.id()).PulledBy("podman", "skopeo"), app...),
		gzipCase("gzip with all optional fields", fields, inOrder(fancyHeader(), deflated(6, fields.layers[0]), gzipTrailer(fields.layers[0])), "docker", "skopeo"),
		gzipCase("bgzip: many members, the last one empty", members, bgzip(members.layers[0])),
		gzipCase("gzip of level 0", stored, gzippedAt(0, stored.layers[0])),
	}
}

// fancyHeader has an extra field, a name, a comment and a checksum of itself.
func fancyHeader() []byte {
	h := gzipHeader(2|4|8|16, "\x06\x00AB\x02\x00xy"+"layer.tar\x00"+"made by hand\x00")
	return binary.LittleEndian.AppendUint16(h, uint16(crc32.ChecksumIEEE(h)))
}

func bgzip(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		n := min(len(b), 1000)
		d := deflated(6, b[:n])
		size := binary.LittleEndian.AppendUint16(nil, uint16(len(d)+25))
		out = append(out, inOrder(gzipHeader(4, "\x06\x00BC\x02\x00"+string(size)), d, gzipTrailer(b[:n]))...)
		b = b[n:]
	}
	return append(out, inOrder(gzipHeader(4, "\x06\x00BC\x02\x00\x1b\x00"), []byte{3, 0}, gzipTrailer(nil))...)
}

// Ways to hand over a sound archive.
func inputCases() []*Case {
	i := newImage("ways")
	a := tarOf(i.docker("app/ways:v1"))
	want := Taken(i.id()).Named("app/ways:v1")
	return []*Case{
		newCase("ways to hand over an archive").file("a.tar", a).file("a:b.tar", a).
			run(Refused("-i "), "{d}/a.tar").
			run(want, "docker-archive:{d}/a:b.tar").
			run(want, "docker-archive:{d}/a:b.tar:app/ways:v1").
			pipe(want, "{d}/a.tar", "docker-archive:/dev/stdin").
			pipe(want, "{d}/a.tar", "-i", "/dev/stdin").
			pipe(want, "{d}/a.tar", "docker-archive:-").
			run(want, "oci-archive:{d}/a.tar").
			run(Refused("app/ways:v1"), "docker-archive:{d}/a.tar:app/ways").
			run(want, "docker-archive:{d}/a.tar:@0").
			run(Refused("no such file"), "docker-archive:{d}/missing.tar"),
	}
}
