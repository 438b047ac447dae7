package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A source is where images come from, and the file that is open for that.
type source struct {
	converter.Source
	io.Closer
}

// source returns where the argument, with skopeo's names for such places, or a
// flag says that images come from.
func (f *flags) source(args []string, stdin io.Reader) (source, error) {
	if len(args) == 0 {
		input, err := f.open(stdin)
		if err != nil {
			return source{}, err
		}
		return source{converter.FromArchive(input, ""), input}, nil
	}
	if f.input != "-" {
		return source{}, fmt.Errorf("images come from %s or from the file of -i, and not from both", args[0])
	}
	transport, rest, found := strings.Cut(args[0], ":")
	if found && strings.Trim(rest, "/") == "" {
		return source{}, fmt.Errorf("%s names no image: see `converter --help`", args[0])
	}
	path, name, _ := strings.Cut(rest, ":")
	switch image, slashes := strings.CutPrefix(rest, "//"); transport {
	case "docker":
		if !slashes {
			return source{}, unknownSource(rest)
		}
		return source{converter.FromRegistry(image, f.srcVerify), nothing{}}, nil
	case "docker-daemon":
		return source{converter.FromDocker(rest), nothing{}}, nil
	case "oci":
		return source{converter.FromLayout(path, name), nothing{}}, nil
	case "oci-archive", "docker-archive":
		file, err := openFile(path)
		return source{converter.FromArchive(file, name), file}, err
	}
	return source{}, unknownSource(args[0])
}

func openFile(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		file.Close()
		return nil, fmt.Errorf("%s is a directory, and an archive is a file: oci:%[1]s reads an OCI layout", path)
	}
	return file, nil
}

// nothing is to be closed.
type nothing struct{}

func (nothing) Close() error { return nil }

// unknownSource is the answer to what no image comes from, of which what people
// try has one of its own.
func unknownSource(arg string) error {
	if _, err := cidname.Parse(arg); err == nil {
		return fmt.Errorf("%s is an address already: pull it, or see `converter name`", arg)
	} else if spelling, ok := errors.AsType[*cidname.SpellingError](err); ok {
		return spelling
	}
	if _, err := os.Stat(arg); err == nil {
		return fmt.Errorf("%s is a file: -i %[1]s reads it as an archive", arg)
	}
	return fmt.Errorf("%q does not say where it is: docker-daemon:%[1]s is in Docker, docker://%[1]s in a registry, and an archive comes on standard input", arg)
}

// open returns the archive that is read where no argument says otherwise.
func (f *flags) open(stdin io.Reader) (io.ReadCloser, error) {
	if f.input != "-" {
		return openFile(f.input)
	}
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return nil, errors.New("the input is a terminal: pipe the output of `docker save IMAGE` into converter, or give -i FILE")
	}
	return io.NopCloser(stdin), nil
}

func (f *flags) parsePlatform() (*platform.Platform, error) {
	if f.platform == "" {
		return nil, nil
	}
	return platform.Parse(f.platform)
}
