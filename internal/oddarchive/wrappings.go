package oddarchive

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"unicode/utf16"
)

// Archives that are compressed or wrapped as a whole, and layers that are compressed
// in unusual ways.
func compressionCases() []*Case {
	pz := newImage("pzstd")
	skip := newImage("skippable-layer")
	skipped := layoutAs(skip, ociZstd, append(skippable([]byte("note")), zstdFrame(skip.layers[0])...))
	xzed := newImage("xz")
	xzLayer := newImage("xz-layer")
	kept := newImage("xz-layer-in-docker-archive")
	nested := newImage("gzip-in-gzip")
	w27, w31 := newImage("window-27"), newImage("window-31")
	plain := tarOf(xzed.docker("app/xz:v1"))
	return []*Case{
		newCase("whole archive as pzstd writes it").
			file("a.tar.zst", pzstd(tarOf(pz.docker("trial/one:v1")))).
			run(Taken(pz.id()), "-i", "{d}/a.tar.zst"),
		newCase("zstd layer after a skippable frame").layout(skipped).
			run(Taken(skip.id()).AsIs().PulledBy("skopeo"), "-i", "{d}/a.tar", "--name", "one").
			run(Taken(skip.id()).AsIs().PulledBy("skopeo"), "oci:{d}/l:v1", "--name", "one").
			run(Taken(skip.id()), "oci:{d}/l:v1", "--name", "one", "--recompress"),
		newCase("archive as tar.xz").file("a.tar.xz", xz(plain)).
			run(Taken(xzed.id()), "-i", "{d}/a.tar.xz"),
		newCase("archive as tar.bz2").file("a.tar.bz2", bzip2Archive).
			run(Taken(bzip2Image().id()), "-i", "{d}/a.tar.bz2"),
		newCase("archive as zip").file("a.zip", zipped("app.tar", plain)).
			run(Refused("zip", "unzip"), "-i", "{d}/a.zip"),
		newCase("xz layer in a layout").layout(layoutAs(xzLayer, ociLayer+"+xz", xz(xzLayer.layers[0]))).
			run(Taken(xzLayer.id()).AsIs().Noting("xz", "--recompress").PulledBy("podman", "skopeo"), "-i", "{d}/a.tar", "--name", "app").
			run(Taken(xzLayer.id()), "-i", "{d}/a.tar", "--name", "app", "--recompress"),
		newCase("xz layer in a docker archive").
			file("a.tar", tarOf(kept.dockerAs("%s.tar.xz", "%s.json", [][]byte{xz(kept.layers[0])}, []string{"app/xz:v1"}))).
			run(Taken(kept.id()), "-i", "{d}/a.tar"),
		newCase("gzip in gzip").file("a.tar.gz", gzipped(gzipped(tarOf(nested.docker("app/nested:v1"))))).
			run(Taken(nested.id()), "-i", "{d}/a.tar.gz"),
		newCase("zstd window of 2^27").file("a.tar.zst", zstdWindowed(27, tarOf(w27.docker("app/window:v1")))).
			layout(layoutAs(w27, ociZstd, zstdWindowed(27, w27.layers[0]))).
			run(Taken(w27.id()), "-i", "{d}/a.tar.zst").
			run(Taken(w27.id()).AsIs().PulledBy("podman", "skopeo"), "oci:{d}/l:v1", "--name", "app"),
		newCase("zstd window of 2^31").file("a.tar.zst", zstdWindowed(31, tarOf(w31.docker("app/window:v1")))).
			layout(layoutAs(w31, ociZstd, zstdWindowed(31, w31.layers[0]))).
			run(Refused("zstd", "window", "zstd -dc --long=31"), "-i", "{d}/a.tar.zst").
			run(Refused("zstd", "window"), "oci:{d}/l:v1", "--name", "app"),
	}
}

// bzip2Archive is the archive of bzip2Image, compressed by bzip2: the standard library
// cannot write it.
//
//go:embed testdata/bzip2.tar.bz2
var bzip2Archive []byte

func bzip2Image() image { return newImage("bzip2") }

func bzip2Plain() []byte { return tarOf(bzip2Image().docker("app/bzip2:v1")) }

func zipped(name string, data []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a fault of this package
	}
	return b.Bytes()
}

// Bytes after the end of an archive or of a compressed file.
func trailingCases() []*Case {
	zeros, junk := make([]byte, 4096), bytes.Repeat([]byte("junk"), 100)
	afterGzip := newImage("after-gzip")
	gz := gzipped(tarOf(afterGzip.docker("app/after:v1")))
	layerZeros, layerJunk := newImage("layer-then-zeros"), newImage("layer-then-junk")
	afterTar := newImage("after-tar")
	one, two := newImage("cat-one"), newImage("cat-two")
	a, b := tarOf(one.docker("app/one:v1")), tarOf(two.docker("app/two:v1"))
	second := Refused("another archive", "one at a time")
	return []*Case{
		newCase("gzipped archive, then zeros").file("a.tar.gz", append(bytes.Clone(gz), zeros...)).
			run(Taken(afterGzip.id()), "-i", "{d}/a.tar.gz"),
		newCase("gzipped archive, then junk").file("a.tar.gz", append(bytes.Clone(gz), junk...)).
			run(Taken(afterGzip.id()).Noting("ignored"), "-i", "{d}/a.tar.gz"),
		newCase("gzipped layer, then zeros").
			layout(layoutAs(layerZeros, ociGzip, append(gzipped(layerZeros.layers[0]), zeros[:512]...))).
			run(Refused("does not decompress", "after its end"), "-i", "{d}/a.tar", "--name", "app"),
		newCase("gzipped layer, then junk").
			layout(layoutAs(layerJunk, ociGzip, append(gzipped(layerJunk.layers[0]), junk...))).
			run(Refused("does not decompress", "after its end"), "-i", "{d}/a.tar", "--name", "app"),
		newCase("plain archive, then junk").
			file("a.tar", append(tarOf(afterTar.docker("app/after:v1")), bytes.Repeat(junk, 3)...)).
			run(Taken(afterTar.id()).Noting("ignored"), "-i", "{d}/a.tar"),
		newCase("two archives in a row").file("a.tar", append(bytes.Clone(a), b...)).
			run(second, "-i", "{d}/a.tar").
			pipe(second, "{d}/a.tar"),
		newCase("two gzipped archives in a row").file("a.tar.gz", append(gzipped(a), gzipped(b)...)).
			run(second, "-i", "{d}/a.tar.gz"),
	}
}

// Archives that went through a shell that took them for text.
func mangledCases() []*Case {
	mangled := newImage("mangled")
	plain := tarOf(mangled.docker("app/mangled:v1"))
	wide := []byte{0xff, 0xfe}
	for _, c := range plain {
		for _, u := range utf16.Encode([]rune{rune(c)}) {
			wide = append(wide, byte(u), byte(u>>8))
		}
	}
	help := Refused("PowerShell", "docker save -o")
	return []*Case{
		newCase("UTF-16 by PowerShell's >").file("a.tar", wide).run(help, "-i", "{d}/a.tar"),
		newCase("LF became CRLF").
			file("a.tar", bytes.ReplaceAll(plain, []byte("\n"), []byte("\r\n"))).run(Refused("CRLF", "docker save -o"), "-i", "{d}/a.tar"),
		newCase("UTF-8 byte order mark in front").
			file("a.tar", append([]byte("\xef\xbb\xbf"), plain...)).run(help, "-i", "{d}/a.tar"),
		newCase("gzip with its bytes replaced, as PowerShell 7 pipes it").
			file("a.tar.gz", bytes.ToValidUTF8(gzipped(plain), []byte("\ufffd"))).run(help, "-i", "{d}/a.tar.gz"),
	}
}
