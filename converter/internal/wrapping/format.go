package wrapping

import (
	"bytes"
	"strings"
)

// A format is known by the first bytes of a file. People give files in these formats
// instead of an archive, or wrap an archive in them.
type format struct {
	magic, name string
	command     string // writes to standard output what a file holds; empty where that is no archive
	help        string // what to do instead of saving an image
}

var formats = []format{
	{magic: "PK\x03\x04", name: "a zip archive", command: "unzip -p FILE"},
	{magic: "PK\x05\x06", name: "an empty zip archive"},
	{magic: "7z\xbc\xaf\x27\x1c", name: "a 7-Zip archive", command: "7z x -so FILE"},
	{magic: "Rar!\x1a\x07", name: "a RAR archive", command: "unrar p -inul FILE"},
	{magic: "\x04\x22\x4d\x18", name: "compressed by lz4", command: "lz4 -dc FILE"},
	{magic: "\x02\x21\x4c\x18", name: "compressed by lz4", command: "lz4 -dc FILE"},
	{magic: "LZIP", name: "compressed by lzip", command: "lzip -dc FILE"},
	{magic: "\x5d\x00\x00", name: "compressed by lzma", command: "xz --format=lzma -dc FILE"},
	{magic: "\x89LZO\x00\r\n\x1a\n", name: "compressed by lzop", command: "lzop -dc FILE"},
	{magic: "\x1f\x9d", name: "compressed by compress", command: "gzip -dc FILE"},
	{magic: "\x22\xb5\x2f\xfd", name: "compressed by a zstd of before 0.8", command: "zstd -dc FILE"},
	{magic: "-----BEGIN PGP MESSAGE", name: "encrypted by GnuPG", command: "gpg -d FILE"},
	{magic: "age-encryption.org/", name: "encrypted by age", command: "age -d FILE"},
	{magic: "-----BEGIN AGE ENCRYPTED", name: "encrypted by age", command: "age -d FILE"},
	{magic: "Salted__", name: "encrypted by OpenSSL", command: "openssl enc -d -in FILE"},
	{magic: "070701", name: "a cpio archive"},
	{magic: "070707", name: "a cpio archive"},
	{magic: "!<arch>\n", name: "a Debian package or another ar archive"},
	{magic: "\xed\xab\xee\xdb", name: "an RPM package"},
	{magic: "hsqs", name: "a squashfs image"},
	{magic: "QFI\xfb", name: "a virtual machine's disk"},
	{magic: "#!/usr/bin/env run-singularity", name: "a Singularity image", help: "Singularity keeps no layers: save the image that it was made of"},
	{magic: "\x7fELF", name: "a program"},
	{magic: "version https://git-lfs.github.com/spec/", name: "a pointer of Git LFS, and not the file", help: "fetch the file first, `git lfs pull`"},
	{magic: "H4sI", name: "gzip written as base64", command: "base64 -d FILE"},
	{magic: "KLUv/", name: "zstd written as base64", command: "base64 -d FILE"},
	{magic: "/Td6WFoA", name: "xz written as base64", command: "base64 -d FILE"},
}

func (f format) error() error {
	what := "the input is " + f.name + ", and no image archive"
	if f.command != "" {
		return &WrappedError{what, f.command}
	}
	return &NotImagesError{what, f.help}
}

// recognise returns an error if a file that begins so is in a known format other than
// tar.
func recognise(beginning []byte) error {
	if isHeader(beginning) {
		return nil
	}
	if isMangled(beginning) {
		return ErrText
	}
	for _, f := range formats {
		if bytes.HasPrefix(beginning, []byte(f.magic)) {
			return f.error()
		}
	}
	return recogniseText(beginning)
}

// mangled are the first bytes of archives that a shell took for text: byte order
// marks, and the magic of gzip, zstd and xz with what is not UTF-8 replaced.
var mangled = []string{"\xff\xfe", "\xfe\xff", "\xef\xbb\xbf", "\x1f" + replacement, "(" + replacement + "/" + replacement, replacement + "7zXZ"}

func isMangled(beginning []byte) bool {
	for _, m := range mangled {
		if bytes.HasPrefix(beginning, []byte(m)) {
			return true
		}
	}
	return false
}

func recogniseText(beginning []byte) error {
	text := strings.ToLower(strings.TrimSpace(string(beginning)))
	switch {
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"), strings.HasPrefix(text, "<?xml"):
		return &NotImagesError{"the input is a web page, and no image archive", "the download of the archive may have failed, or need a login"}
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return &NotImagesError{What: "the input is a JSON document, and no image archive"}
	case strings.HasPrefix(text, "error response from daemon"), strings.HasPrefix(text, "cannot connect to the docker daemon"):
		return &NotImagesError{"the input is an error message of Docker, and no image archive", "see what `docker save IMAGE` says"}
	}
	return nil
}
