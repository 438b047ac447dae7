package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// A source is where images to convert come from, with the file that is open for
// it, if any.
type source struct {
	converter.Source
	file *os.File
}

func (s source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// openSource opens the source that the argument names, with skopeo's names of
// transports, or else the archive of -i.
func openSource(args []string, input string, verifyTLS bool, stdin io.Reader) (source, error) {
	if len(args) == 0 {
		return openInput(input, stdin)
	}
	arg := args[0]
	if input != "-" {
		return source{}, fmt.Errorf("images come from %s or from the file of -i, and not from both", arg)
	}
	transport, rest, found := strings.Cut(arg, ":")
	if found && strings.Trim(rest, "/") == "" {
		return source{}, fmt.Errorf("%s names no image: see `converter --help`", arg)
	}
	path, name, _ := strings.Cut(rest, ":")
	switch transport {
	case "docker":
		image, slashes := strings.CutPrefix(rest, "//")
		if !slashes {
			return source{}, unknownSource(rest)
		}
		return source{Source: converter.FromRegistry(image, verifyTLS)}, nil
	case "docker-daemon":
		return source{Source: converter.FromDocker(rest)}, nil
	case "oci":
		return source{Source: converter.FromLayout(path, name)}, nil
	case "oci-archive", "docker-archive":
		file, err := openArchive(path)
		return source{converter.FromArchive(file, name), file}, err
	}
	return source{}, unknownSource(arg)
}

func openInput(input string, stdin io.Reader) (source, error) {
	if input != "-" {
		file, err := openArchive(input)
		return source{converter.FromArchive(file, ""), file}, err
	}
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return source{}, errors.New("the input is a terminal: pipe the output of `docker save IMAGE` into converter, or give -i FILE")
	}
	return source{Source: converter.FromArchive(stdin, "")}, nil
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
