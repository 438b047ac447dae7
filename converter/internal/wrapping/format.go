package wrapping

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// formats are known by their first bytes. People give files in these formats instead of
// an archive, or wrap an archive in them. The help says what to do instead.
var formats = []struct {
	magic, name, help string
}{
	{"PK\x03\x04", "a zip archive", "unpack it first, `unzip FILE`, or `unzip -p FILE | converter` if an archive is all that is in it"},
	{"PK\x05\x06", "an empty zip archive", saveInstead},
	{"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first, `7z x -so FILE | converter` if an archive is all that is in it"},
	{"Rar!\x1a\x07", "a RAR archive", "unpack it first"},
	{"\x04\x22\x4d\x18", "compressed by lz4", "decompress it first, `lz4 -dc FILE | converter`"},
	{"\x02\x21\x4c\x18", "compressed by lz4", "decompress it first, `lz4 -dc FILE | converter`"},
	{"LZIP", "compressed by lzip", "decompress it first, `lzip -dc FILE | converter`"},
	{"\x5d\x00\x00", "compressed by lzma", "decompress it first, `xz --format=lzma -dc FILE | converter`"},
	{"\x89LZO\x00\r\n\x1a\n", "compressed by lzop", "decompress it first, `lzop -dc FILE | converter`"},
	{"\x1f\x9d", "compressed by compress", "decompress it first, `gzip -dc FILE | converter`"},
	{"\x22\xb5\x2f\xfd", "compressed by a zstd of before 0.8", "decompress it first, `zstd -dc FILE | converter`"},
	{"-----BEGIN PGP MESSAGE", "encrypted by GnuPG", "decrypt it first, `gpg -d FILE | converter`"},
	{"age-encryption.org/", "encrypted by age", "decrypt it first, `age -d FILE | converter`"},
	{"-----BEGIN AGE ENCRYPTED", "encrypted by age", "decrypt it first, `age -d FILE | converter`"},
	{"Salted__", "encrypted by OpenSSL", "decrypt it first, `openssl enc -d`"},
	{"070701", "a cpio archive", saveInstead},
	{"070707", "a cpio archive", saveInstead},
	{"!<arch>\n", "a Debian package or another ar archive", saveInstead},
	{"\xed\xab\xee\xdb", "an RPM package", saveInstead},
	{"hsqs", "a squashfs image", saveInstead},
	{"QFI\xfb", "a virtual machine's disk", saveInstead},
	{"#!/usr/bin/env run-singularity", "a Singularity image", "Singularity keeps no layers: save the image that it was made of with `docker save IMAGE`"},
	{"\x7fELF", "a program", saveInstead},
	{"version https://git-lfs.github.com/spec/", "a pointer of Git LFS, and not the file", "fetch the file first, `git lfs pull`"},
	{"H4sI", "gzip written as base64", "decode it first, `base64 -d FILE | converter`"},
	{"KLUv/", "zstd written as base64", "decode it first, `base64 -d FILE | converter`"},
	{"/Td6WFoA", "xz written as base64", "decode it first, `base64 -d FILE | converter`"},
}

const saveInstead = "converter reads what `docker save IMAGE` writes"

// recognise returns an error if a file that begins so is in a known format other than
// tar.
func recognise(beginning []byte) error {
	if isHeader(beginning) {
		return nil
	}
	if isMangled(beginning) {
		return errReplaced
	}
	for _, f := range formats {
		if bytes.HasPrefix(beginning, []byte(f.magic)) {
			return fmt.Errorf("the input is %s, and no image archive: %s", f.name, f.help)
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
		return errors.New("the input is a web page, and no image archive: the download of the archive may have failed, or need a login")
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return errors.New("the input is a JSON document, and no image archive: " + saveInstead)
	case strings.HasPrefix(text, "error response from daemon"), strings.HasPrefix(text, "cannot connect to the docker daemon"):
		return errors.New("the input is an error message of Docker, and no image archive: see what `docker save IMAGE` says")
	}
	return nil
}
