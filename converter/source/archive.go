package converter

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/manifest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An archive is what was read of a Docker or OCI archive, or of what is as good
// as one: a layout, or a registry.
type archive struct {
	ws   *blob.Workspace
	logf func(string, ...any)
	want want

	// where is what the archive is called in messages.
	where string

	// published says that what was not rewritten on purpose keeps its bytes:
	// manifests were not made up for the archive.
	published bool

	documents map[string][]byte        // manifest.json and index.json
	contents  map[string]*blob.Content // by path
	links     map[string]string        // from path to path

	// fetch opens a blob that is not among the contents. Where it is missing,
	// the error is ocilayout.ErrMissing. It is nil where everything was read.
	fetch  func(context.Context, v1.Descriptor) (io.ReadCloser, error)
	failed map[digest.Digest]error // what could not be fetched, and why

	manifests     map[digest.Digest]layout.Manifest
	manifestBytes int // of all of them
	named         int // by indexes
}

func newArchive(ws *blob.Workspace, logf func(string, ...any), w want) *archive {
	return &archive{
		ws: ws, logf: logf, want: w, where: "the archive",
		documents: map[string][]byte{},
		contents:  map[string]*blob.Content{},
		links:     map[string]string{},
		failed:    map[digest.Digest]error{},
		manifests: map[digest.Digest]layout.Manifest{},
	}
}

// readTar reads a tar to its end. Where a path occurs again, the later entry
// counts, as it does when a tar is unpacked.
func (a *archive) readTar(r io.Reader) error {
	input, err := newInput(a.ws.Context, r)
	if err != nil {
		return err
	}
	tr := tar.NewReader(input)
	for entries := 0; ; entries++ {
		header, err := tr.Next()
		if err == io.EOF {
			return a.complete(input, entries)
		}
		if err != nil {
			return archiveError(err, entries)
		}
		if err := a.readEntry(header, tr); err != nil {
			return entryError(header.Name, err)
		}
	}
}

func (a *archive) readEntry(header *tar.Header, r io.Reader) error {
	name, err := entryPath(header.Name)
	if err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeReg:
		if isSparse(header) {
			return errors.New("a sparse file, which no program that saves images writes")
		}
	case tar.TypeSymlink:
		return a.link(name, path.Join(path.Dir(name), header.Linkname))
	case tar.TypeLink:
		return a.link(name, header.Linkname)
	default:
		return nil
	}
	if isLegacy(name) {
		return nil
	}
	a.forget(name)
	if name == ocilayout.DockerList || name == ocilayout.Index {
		a.documents[name], err = manifest.ReadDocument(r)
		return err
	}
	if err := a.room(); err != nil {
		return err
	}
	a.contents[name], err = a.ws.Read(name, header.Size, r)
	return err
}

// maxEntries is how many files and links may be in an archive, all of which are
// remembered until its end.
const maxEntries = 1 << 16

// room reports whether there is too much already for one more entry.
func (a *archive) room() error {
	if len(a.contents)+len(a.links) < maxEntries {
		return nil
	}
	return fmt.Errorf("more than %d files and links, which no image has", maxEntries)
}

// isSparse reports whether an entry claims holes, with which a few bytes stand
// for any number of zeros.
func isSparse(header *tar.Header) bool {
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// isLegacy reports whether a file is part of the image format of before Docker
// 1.10, which Docker still writes for clients of that time.
func isLegacy(name string) bool {
	base := path.Base(name)
	return name == "repositories" || name == "oci-layout" || name != base && (base == "VERSION" || base == "json")
}

func (a *archive) link(name, target string) error {
	target, err := entryPath(target)
	if err != nil {
		return err
	}
	a.forget(name)
	if err := a.room(); err != nil {
		return err
	}
	a.links[name] = target
	return nil
}

func (a *archive) forget(name string) {
	if c := a.contents[name]; c != nil {
		c.Remove()
	}
	delete(a.contents, name)
	delete(a.documents, name)
	delete(a.links, name)
}

// maxLinks is how many links may follow one another. Docker writes one.
const maxLinks = 8

func (a *archive) missing(what string) error {
	return fmt.Errorf("%s %w %s", what, ocilayout.ErrMissing, a.where)
}

// find returns the content at a path, through links, or
// ocilayout.ErrMissing.
func (a *archive) find(name string) (*blob.Content, error) {
	at := path.Clean(name)
	for range maxLinks {
		if c := a.contents[at]; c != nil {
			return c, nil
		}
		next, ok := a.links[at]
		if !ok {
			break
		}
		at = next
	}
	return nil, a.missing(strconv.Quote(name))
}

// maxPath is how long the path of an entry may be, in bytes.
const maxPath = 1 << 10

// entryPath cleans the path of an entry, which must not lead out of the archive.
func entryPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("a path of more than %d bytes", maxPath)
	}
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errOutside
	}
	return clean, nil
}

var errOutside = errors.New("the path leads out of the archive")

func (a *archive) complete(in *input, entries int) error {
	if entries == 0 {
		return errors.New("the input is empty: pipe the output of `docker save IMAGE` into converter")
	}
	if in.ended { // and no tar says that it ends
		return errors.New("the archive ends early")
	}
	// Whoever writes the pipe must not be told that nobody reads it.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	if a.documents[ocilayout.DockerList] == nil && a.documents[ocilayout.Index] == nil {
		return fmt.Errorf("the input is no image archive, or ends early: it has neither %s nor %s", ocilayout.DockerList, ocilayout.Index)
	}
	return nil
}

func archiveError(err error, entries int) error {
	damaged := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader)
	switch {
	case damaged && entries == 0:
		return errors.New("the input is no image archive: give what `docker save IMAGE` writes")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the archive ends early")
	}
	return fmt.Errorf("reading the archive: %w", err)
}

func entryError(name string, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the archive ends early, in %.200q", name)
	}
	return fmt.Errorf("reading %.200q from the archive: %w", name, err)
}
