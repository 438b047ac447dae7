package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
	if slices.Contains(transports, transport) && found && strings.Trim(rest, "/") == "" {
		return openedSource{}, fmt.Errorf("%s names no image: see `converter --help`", arg)
	}
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
		path, name := splitPath(rest)
		return openedSource{Source: source.FromLayout(path), image: name}, nil
	case "oci-archive":
		return openArchive(rest, stdin, source.FromArchive)
	case "docker-archive":
		return openArchive(rest, stdin, source.FromDockerArchive)
	case "dir":
		return openedSource{}, &source.SkopeoDirError{Where: rest}
	}
	return openedSource{}, unknownSource(arg)
}

// transports are the words that sources begin with.
var transports = []string{"docker", "docker-daemon", "docker-archive", "oci", "oci-archive", "dir"}

// splitPath splits the path of a file or directory from the name of an image behind
// it. Both may have colons: the path is the longest that exists.
func splitPath(s string) (path, name string) {
	for path = s; ; {
		if _, err := os.Stat(path); err == nil {
			return path, strings.TrimPrefix(s[len(path):], ":")
		}
		colon := strings.LastIndex(path, ":")
		if colon < 0 {
			break
		}
		path = path[:colon]
	}
	path, name, _ = strings.Cut(s, ":")
	return path, name
}

// openArchive opens an archive by its path, with or without the name of an image, or
// standard input by "-".
func openArchive(arg string, stdin io.Reader, from func(io.Reader) source.Source) (openedSource, error) {
	path, name := splitPath(arg)
	if path == "-" {
		return openedSource{Source: from(stdin), image: name}, nil
	}
	file, err := openFile(path)
	if err != nil {
		return openedSource{}, err
	}
	return openedSource{from(file), name, file}, nil
}

func openInput(input string, stdin io.Reader) (openedSource, error) {
	if input != "-" {
		file, err := openFile(input)
		if err != nil {
			return openedSource{}, err
		}
		return openedSource{source.FromArchive(file), "", file}, nil
	}
	if file, ok := stdin.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return openedSource{}, errors.New("the input is a terminal: pipe the output of `docker save IMAGE` into converter, or give -i FILE")
	}
	return openedSource{Source: source.FromArchive(stdin)}, nil
}

func openFile(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the archive: %w", err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		file.Close()
		if source.IsSkopeoDir(path) {
			return nil, &source.SkopeoDirError{Where: path}
		}
		return nil, fmt.Errorf("%s is a directory, and an archive is a file: oci:%[1]s reads an OCI layout", path)
	}
	return file, nil
}

// unknownSource returns the error for an argument that names no source, with what
// to type instead.
func unknownSource(arg string) error {
	if _, err := os.Stat(arg); err == nil {
		return fmt.Errorf("%s is a file: -i %[1]s reads it as an archive", arg)
	}
	if _, err := cidname.Parse(arg); err == nil {
		return fmt.Errorf("%s is an address already: pull it, or see `converter name`", arg)
	} else if spelling, ok := errors.AsType[*cidname.SpellingError](err); ok {
		return spelling
	}
	transport, rest, found := strings.Cut(arg, ":")
	if found && (transport == "http" || transport == "https") {
		return fmt.Errorf("%q is the URL of a page: docker:%s reads an image from a registry, without the page's path", arg, rest)
	}
	if meant := nearest(transport, transports); found && meant != "" {
		return fmt.Errorf("there is no source %s: did you mean %s:%s?", transport, meant, rest)
	}
	return fmt.Errorf("%q does not say where the image is: docker-daemon:%[1]s is in Docker, docker://%[1]s in a registry, and an archive comes on standard input", arg)
}
