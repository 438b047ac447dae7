package wrapping

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
)

func TestUnwrapTakesOffEveryCompression(t *testing.T) {
	t.Parallel()
	plain := testimage.Layer("layer", 100_000)
	for name, wrap := range map[string]func([]byte) []byte{
		"plain":        func(b []byte) []byte { return b },
		"gzip":         gzipped,
		"zstd":         zstandard,
		"gzip in gzip": func(b []byte) []byte { return gzipped(gzipped(b)) },
		"members":      func(b []byte) []byte { return append(gzipped(b[:512]), gzipped(b[512:])...) },
		"frames":       func(b []byte) []byte { return append(zstandard(b[:512]), zstandard(b[512:])...) },
		"padded":       func(b []byte) []byte { return append(gzipped(b), make([]byte, 10_000)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := Unwrap(bytes.NewReader(wrap(plain)))
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			got, err := io.ReadAll(u)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("got %d bytes and %v, want %d bytes", len(got), err, len(plain))
			}
		})
	}
}

func TestUnwrapNamesWhatIsNoArchive(t *testing.T) {
	t.Parallel()
	plain := testimage.Layer("layer", 1000)
	for name, c := range map[string]struct {
		input   string
		command string // of a WrappedError
		says    string
	}{
		"zip":            {"PK\x03\x04" + strings.Repeat("x", 600), "unzip -p FILE", "a zip archive"},
		"7-Zip":          {"7z\xbc\xaf\x27\x1c", "7z x -so FILE", "7-Zip"},
		"lz4":            {"\x04\x22\x4d\x18xxxx", "lz4 -dc FILE", "lz4"},
		"lzip":           {"LZIP\x01", "lzip -dc FILE", "lzip"},
		"age":            {"age-encryption.org/v1\n", "age -d FILE", "encrypted"},
		"Git LFS":        {"version https://git-lfs.github.com/spec/v1\n", "", "git lfs pull"},
		"base64":         {base64.StdEncoding.EncodeToString(gzipped(plain)), "base64 -d FILE", "base64"},
		"web page":       {"\n<!DOCTYPE html>\n<html>", "", "download"},
		"JSON":           {`{"schemaVersion":2}`, "", "a JSON document"},
		"error":          {"Error response from daemon: reference does not exist", "", "docker save"},
		"program":        {"\x7fELF", "", "a program"},
		"zip in gzip":    {string(gzipped([]byte("PK\x03\x04"))), "unzip -p FILE", "a zip archive"},
		"UTF-16":         {"\xff\xfem\x00a\x00", "", "PowerShell"},
		"byte order":     {"\xef\xbb\xbfmanifest.json", "", "PowerShell"},
		"replaced zstd":  {"(\ufffd/\ufffd", "", "PowerShell"},
		"three gzips":    {string(gzipped(gzipped(gzipped(plain)))), "", "2 times over"},
		"window too big": {"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", "zstd -dc --long=31 FILE", "too much memory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := Unwrap(strings.NewReader(c.input))
			if err == nil {
				_, err = io.ReadAll(u)
				u.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want an error with %q", err, c.says)
			}
			wrapped, ok := errors.AsType[*WrappedError](err)
			if ok != (c.command != "") || ok && wrapped.Command != c.command {
				t.Errorf("got the command of %+v, want %q", wrapped, c.command)
			}
		})
	}
}

// A tar may begin with the name of any file.
func TestUnwrapTakesTarForTarWhateverItsFirstName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"LZIP", "H4sI", "{", "070701", "hsqs", "<html"} {
		u, err := Unwrap(bytes.NewReader(new(testimage.Tarball).File(name, []byte("x")).Close()))
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		u.Close()
	}
}

func TestDamageByShellsIsNamed(t *testing.T) {
	t.Parallel()
	plain := new(testimage.Tarball).File("notes", []byte("one\ntwo\n")).File("random", testimage.Random("shell", 5000)).Close()
	for name, c := range map[string]struct {
		damage func([]byte) []byte
		want   error
	}{
		"line feeds of a tar":  {withCarriageReturns, ErrLines},
		"line feeds of a gzip": {func(b []byte) []byte { return withCarriageReturns(gzipped(b)) }, ErrLines},
		"bytes of a tar":       {func(b []byte) []byte { return bytes.ToValidUTF8(b, []byte(replacement)) }, ErrText},
		"bytes of a gzip":      {func(b []byte) []byte { return bytes.ToValidUTF8(gzipped(b), []byte(replacement)) }, ErrText},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := readAll(bytes.NewReader(c.damage(plain))); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	if err := readAll(bytes.NewReader(plain[:3000])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an archive that is cut off: got %v", err)
	}
}

func withCarriageReturns(b []byte) []byte {
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// readAll reads a tar as a converter does, to its end and what follows.
func readAll(r io.Reader) error {
	u, err := Unwrap(r)
	if err != nil {
		return err
	}
	defer u.Close()
	var c Contents
	for tr := tar.NewReader(u); ; {
		h, err := tr.Next()
		if err == io.EOF {
			_, err := u.Finish()
			return err
		}
		if err != nil {
			return u.Explain(err)
		}
		if err := c.Add(h.Name); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, tr); err != nil {
			return u.Explain(err)
		}
	}
}

func TestFinishTellsWhatFollows(t *testing.T) {
	t.Parallel()
	a := testimage.Layer("first", 1000)
	junk := bytes.Repeat([]byte("junk"), 1000)
	zeros := make([]byte, 70_000)
	for name, c := range map[string]struct {
		input      [][]byte
		note, fail string
	}{
		"nothing":                  {[][]byte{a}, "", ""},
		"zeros":                    {[][]byte{a, zeros}, "", ""},
		"junk":                     {[][]byte{a, junk}, "ignored", ""},
		"junk after zeros":         {[][]byte{a, zeros, junk}, "ignored", ""},
		"a few bytes":              {[][]byte{a, []byte("x")}, "ignored", ""},
		"another tar":              {[][]byte{a, a}, "", "another archive follows"},
		"another tar after zeros":  {[][]byte{a, zeros[:1024], a}, "", "another archive follows"},
		"a gzip":                   {[][]byte{a, gzipped(a)}, "", "another archive follows"},
		"another member":           {[][]byte{gzipped(a), gzipped(a)}, "", "another archive follows"},
		"junk after gzip":          {[][]byte{gzipped(a), junk}, "not gzip", ""},
		"a byte after gzip":        {[][]byte{gzipped(a), {0}}, "not gzip", ""},
		"junk after zstd":          {[][]byte{zstandard(a), junk}, "not zstd", ""},
		"a wrong checksum of gzip": {[][]byte{withWrongChecksum(gzipped(a))}, "", "checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := Unwrap(bytes.NewReader(bytes.Join(c.input, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer u.Close()
			for tr := tar.NewReader(u); ; {
				if _, err := tr.Next(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			note, err := u.Finish()
			if !strings.Contains(note, c.note) || (note == "") != (c.note == "") {
				t.Errorf("got the note %q, want %q", note, c.note)
			}
			if (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
				t.Errorf("got %v, want %q", err, c.fail)
			}
		})
	}
}

func withWrongChecksum(b []byte) []byte {
	b[len(b)-8] ^= 1
	return b
}

func TestContentsRecogniseWhatIsNoImage(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		names  []string
		atOnce string // what Add says of the last name
		atEnd  string // what Explain says
	}{
		"docker save":          {[]string{id, id + "/VERSION", id + "/json", "manifest.json"}, "", "neither"},
		"layout":               {[]string{"blobs", "blobs/sha256", "etc/x", "usr/x", "var/x"}, "", "neither"},
		"docker export":        {[]string{".dockerenv"}, "docker export", ""},
		"podman export":        {[]string{"bin", "dev", "etc/"}, "docker export", ""},
		"file named as a root": {[]string{"usr", "usr/x", "var.tar"}, "", "holds another one"},
		"folder of a layout":   {[]string{"image", "image/oci-layout"}, `"image"`, ""},
		"folder of an archive": {[]string{"a/b", "a/b/" + id + "/VERSION"}, `"a/b"`, ""},
		"folder packed by Mac": {[]string{"._image", "image", "image/._blobs", "image/blobs"}, `"image"`, ""},
		"two folders":          {[]string{"a/x", "b/manifest.json"}, "", "neither"},
		"before Docker 1.10":   {[]string{id, id + "/VERSION", id + "/json", id + "/layer.tar", "repositories"}, "", "Docker 1.10"},
		"an archive":           {[]string{"README", "app.tar.gz"}, "", "holds another one"},
		"archives":             {[]string{"app.tar.gz", "db.tar"}, "", "one at a time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var contents Contents
			var err error
			for i, n := range c.names {
				if err = contents.Add(strings.TrimSuffix(n, "/")); err != nil && i < len(c.names)-1 {
					t.Fatalf("%q: %v", n, err)
				}
			}
			if (err == nil) != (c.atOnce == "") || err != nil && !strings.Contains(err.Error(), c.atOnce) {
				t.Errorf("at once: got %v, want %q", err, c.atOnce)
			}
			if got := contents.Explain().Error(); !strings.Contains(got, c.atEnd) {
				t.Errorf("at the end: got %q, want %q", got, c.atEnd)
			}
		})
	}
}

func FuzzUnwrap(f *testing.F) {
	a := testimage.Layer("seed", 600)
	f.Add(a)
	f.Add(gzipped(a))
	f.Add(zstandard(a))
	f.Add(gzipped(zstandard(a)))
	f.Add(append(gzipped(a), "junk"...))
	f.Add(append(bytes.Clone(a), a...))
	f.Add(withCarriageReturns(a))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := readAll(io.LimitReader(bytes.NewReader(data), 1<<20))
		if err != nil && strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%q is not one line", err)
		}
	})
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b) // into memory
	z.Close()
	return out.Bytes()
}

func zstandard(b []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer z.Close()
	return z.EncodeAll(b, nil)
}
