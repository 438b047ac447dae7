package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/source"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// An openedSource is where images to convert come from.
type openedSource struct {
	source.Source
	image string   // the one that is wanted of several; all if empty
	file  *os.File // open, if any
}

func (s openedSource) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// openSource opens the source that the argument names, with skopeo's names of
// transports, or else the archive of -i.
func openSource(args []string, input string, verifyTLS bool, stdin io.Reader) (openedSource, error) {
	if len(args) == 0 {
		return openInput(input, stdin)
	}
	arg := args[0]
	if input != "-" {
		return openedSource{}, fmt.Errorf("images come from %s or from the file of -i, and not from both", arg)
	}
	transport, rest, found := strings.Cut(arg, ":")
	if found && strings.Trim(rest, "/") == "" {
		return openedSource{}, fmt.Errorf("%s names no image: see `converter --help`", arg)
	}
	path, name, _ := strings.Cut(rest, ":")
	switch transport {
	case "docker":
		image, slashes := strings.CutPrefix(rest, "//")
		if !slashes {
			return openedSource{}, unknownSource(rest)
		}
		return openedSource{Source: source.FromRegistry(image, verifyTLS)}, nil
	case "docker-daemon":
		return openedSource{Source: source.FromDocker(rest)}, nil
	case "oci":
		return openedSource{Source: source.FromLayout(path), image: name}, nil
	case "oci-archive":
		file, err := openArchive(path)
		return openedSource{source.FromArchive(file), name, file}, err
	case "docker-archive":
		file, err := openArchive(path)
		return openedSource{source.FromDockerArchive(file), name, file}, err
	}
	return openedSource{}, unknownSource(arg)
}

func openInput(input string, stdin io.Reader) (openedSource, error) {
	if input != "-" {
		file, err := openArchive(input)
		return openedSource{source.FromArchive(file), "", file}, err
	}
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return openedSource{}, errors.New("the input is a terminal: pipe the output of `docker save IMAGE` into converter, or give -i FILE")
	}
	return openedSource{Source: source.FromArchive(stdin)}, nil
}

func openArchive(path string) (*os.File, error) {
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

// unknownSource returns the error for an argument that names no source, with what
// to type instead.
func unknownSource(arg string) error {
	if _, err := cidname.Parse(arg); err == nil {
		return fmt.Errorf("%s is an address already: pull it, or see `converter name`", arg)
	} else if spelling, ok := errors.AsType[*cidname.SpellingError](err); ok {
		return spelling
	}
	if _, err := os.Stat(arg); err == nil {
		return fmt.Errorf("%s is a file: -i %[1]s reads it as an archive", arg)
	}
	return fmt.Errorf("%q does not say where the image is: docker-daemon:%[1]s is in Docker, docker://%[1]s in a registry, and an archive comes on standard input", arg)
}
