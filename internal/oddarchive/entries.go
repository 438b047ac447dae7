package oddarchive

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Archives whose entries are odd.
func entryCases() []*Case {
	i := newImage("entries")
	f := i.docker("app/entries:v1")
	layer := layerNameOf(f)
	l := layoutOf(i)
	want := Taken(i.id()).Named("app/entries:v1")
	first := func(e entry) []byte { return tarOf(append([]entry{e}, f...)) }
	return append(append(linkCases(i, f),
		newCase("entries begin with /").file("a.tar", append(join(f, "/", ustar), end...)).run(want, "-i", "{d}/a.tar"),
		newCase("an entry occurs twice, and the later one is right").
			file("a.tar", first(regular(layer, []byte("not the layer")))).run(want, "-i", "{d}/a.tar"),
		newCase("a ._ file of macOS beside each file").file("a.tar", tarOf(withAppleDouble(f))).run(want, "-i", "{d}/a.tar"),
		newCase("pax global header in front, as git archive writes it").
			file("a.tar", append(pax(true, [2]string{"comment", strings.Repeat("c", 40)}), tarOf(l)...)).
			run(Taken(i.id()).AsIs(), "-i", "{d}/a.tar", "--name", "app"),
		newCase("tar of before 1988").file("a.tar", append(join(f, "", v7), end...)).run(want, "-i", "{d}/a.tar"),
		newCase("size in a pax record, and 0 in the header").file("a.tar", append(sizesInPax(f), end...)).run(want, "-i", "{d}/a.tar"),
		newCase("blobs before index.json and oci-layout").file("a.tar", tarOf(append(slices.Clone(l[2:]), l[1], l[0]))).
			run(Taken(i.id()).AsIs(), "-i", "{d}/a.tar", "--name", "app"),
		newCase("empty archive").file("a.tar", end).run(Refused("empty"), "-i", "{d}/a.tar"),
		newCase("no bytes at all").file("a.tar", nil).run(Refused("empty"), "-i", "{d}/a.tar"),
	), packedLinkCases(i, l)...)
}

func join(entries []entry, prefix, magic string) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, e.member(prefix, magic)...)
	}
	return b
}

func withAppleDouble(entries []entry) []entry {
	var all []entry
	for _, e := range entries {
		dir, base := path.Split(e.name)
		all = append(all, regular(dir+"._"+base, append([]byte("\x00\x05\x16\x07"), make([]byte, 40)...)), e)
	}
	return all
}

func sizesInPax(entries []entry) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, pax(false, [2]string{"size", fmt.Sprint(len(e.data))})...)
		b = append(b, header{name: e.name}.withoutSize(e.data)...)
	}
	return b
}

// Links, needed and not.
func linkCases(i image, f []entry) []*Case {
	want := Taken(i.id()).Named("app/entries:v1")
	layer := layerNameOf(f)
	var cases []*Case
	for _, unused := range []struct {
		name string
		entry
	}{
		{"unused symlink to /dev/null", symlink("x", "/dev/null")},
		{"unused symlink out of the archive", symlink("x", "../../etc/y")},
		{"unused hard link to a later file", hardLink("x", "manifest.json")},
		{"unused symlink to itself", symlink("x", "x")},
		{"unused hard link out of the archive", hardLink("x", "../y")},
		{"unused file out of the archive", regular("../x", []byte("hello"))},
	} {
		cases = append(cases, newCase(unused.name).file("a.tar", tarOf(append([]entry{unused.entry}, f...))).run(want, "-i", "{d}/a.tar"))
	}
	linked := replace(f, "manifest.json", bytes.ReplaceAll(dataOf(f, "manifest.json"), []byte(layer), []byte("l.tar")))
	renamed := slices.Clone(f)
	for n, e := range renamed {
		if e.name == "manifest.json" {
			renamed[n].name = "m.json"
		}
	}
	return append(cases,
		newCase("the layer is a hard link to a later file").file("a.tar", tarOf(append([]entry{hardLink("l.tar", layer)}, linked...))).
			run(want, "-i", "{d}/a.tar"),
		newCase("the layer is a symlink to an earlier file, as Docker 1.10 to 24 saves it twice").
			file("a.tar", tarOf(append(slices.Clone(linked), symlink("l.tar", layer)))).run(want, "-i", "{d}/a.tar"),
		newCase("manifest.json is a symlink").file("a.tar", tarOf(append(renamed, symlink("manifest.json", "m.json")))).
			run(want, "-i", "{d}/a.tar"))
}

// Bazel's layouts, whose blobs are links to where Bazel built them.
func packedLinkCases(i image, l []entry) []*Case {
	var inside, outside []entry
	for _, e := range l {
		if base, ok := strings.CutPrefix(e.name, "blobs/sha256/"); ok {
			inside = append(inside, regular("ext/"+base, e.data))
			e = symlink(e.name, "../../../ext/"+base)
		}
		outside = append(outside, e)
	}
	return []*Case{
		newCase("packed layout whose blobs are links out of it").file("a.tar", tarOf(outside)).
			run(Refused("link", "tar -h"), "-i", "{d}/a.tar", "--name", "app"),
		newCase("layout whose blobs are links out of it").tree("l", outside).tree("", inside).
			run(Taken(i.id()).AsIs(), "oci:{d}/l:v1", "--name", "app"),
	}
}

// Sparse files, with which a few bytes stand for any number of zeros.
func sparseCases() []*Case {
	data := bytes.Repeat([]byte("data"), 128)
	withSparse := func(size int64) image {
		name := fmt.Sprintf("sparse-%d", size)
		return imageOf(name, inOrder(
			header{name: "hello", mode: 0o755}.member(programOf(name)),
			sparseMember("sparse", size, data), end))
	}
	small, large := withSparse(1<<20), withSparse(9<<30)
	outer := imageOf("outer-sparse", append(layerOf("outer-sparse"), make([]byte, 8192)...))
	repacked := outer.docker("app/outer:v1")
	return []*Case{
		newCase("layer with a sparse file of 1 MiB").file("a.tar", tarOf(small.docker("app/sparse:v1"))).
			run(Taken(small.id()).PulledBy("skopeo"), "-i", "{d}/a.tar"),
		newCase("layer with a sparse file of 9 GiB").file("a.tar", tarOf(large.docker("app/sparse:v1"))).
			run(Taken(large.id()).PulledBy("skopeo"), "-i", "{d}/a.tar"),
		newCase("layer.tar is sparse, as tar -S packs it").file("a.tar", repackedSparse(repacked, layerNameOf(repacked), 0)).
			run(Taken(outer.id()), "-i", "{d}/a.tar"),
		newCase("layer.tar claims an exabyte of holes").file("a.tar", repackedSparse(repacked, layerNameOf(repacked), 1<<60)).
			run(Refused("sparse"), "-i", "{d}/a.tar"),
	}
}

// sparseMember returns an old GNU sparse entry whose data stands at its beginning.
func sparseMember(name string, size int64, data []byte) []byte {
	number := func(n int64) string {
		if n < 8<<30 {
			return fmt.Sprintf("%011o\x00", n)
		}
		b := []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		for i := range 8 {
			b[11-i] = byte(n >> (8 * i))
		}
		return string(b)
	}
	tail := strings.Repeat("\x00", 41) + number(0) + number(int64(len(data))) + number(size) + number(0) +
		strings.Repeat("\x00", 48) + "\x00" + number(size)
	return header{name: name, kind: 'S', magic: gnu, tail: tail}.member(data)
}

// repackedSparse returns an archive with one entry that is sparse, and claims to be
// larger by so many bytes.
func repackedSparse(entries []entry, name string, more int64) []byte {
	var b []byte
	for _, e := range entries {
		if e.name != name {
			b = append(b, e.member("", ustar)...)
			continue
		}
		data := padded(bytes.TrimRight(e.data, "\x00"))
		b = append(b, sparseMember(name, int64(len(e.data))+more, data)...)
	}
	return append(b, end...)
}
