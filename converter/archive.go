package converter

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// An archive is what was read of a Docker or OCI archive.
type archive struct {
	ws        *workspace
	logf      func(string, ...any)
	documents map[string][]byte   // manifest.json and index.json
	contents  map[string]*content // by path
	links     map[string]string   // from path to path
}

const (
	dockerManifests = "manifest.json" // Docker's list of images
	ociIndex        = "index.json"    // OCI's
)

// readArchive reads a tar to its end. Where a path occurs again, the later
// entry counts, as it does when a tar is unpacked.
func readArchive(r io.Reader, ws *workspace, logf func(string, ...any)) (*archive, error) {
	a := &archive{ws, logf, map[string][]byte{}, map[string]*content{}, map[string]string{}}
	input, err := newInput(ws.ctx, r)
	if err != nil {
		return nil, err
	}
	tr := tar.NewReader(input)
	for entries := 0; ; entries++ {
		header, err := tr.Next()
		if err == io.EOF {
			return a, a.complete(input, entries)
		}
		if err != nil {
			return nil, archiveError(err, entries)
		}
		if err := a.readEntry(header, tr); err != nil {
			return nil, entryError(header.Name, err)
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
	if name == dockerManifests || name == ociIndex {
		a.documents[name], err = readDocument(r)
		return err
	}
	a.contents[name], err = a.ws.readContent(name, header.Size, r)
	return err
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
	a.links[name] = target
	return nil
}

func (a *archive) forget(name string) {
	if c := a.contents[name]; c != nil {
		c.remove()
	}
	delete(a.contents, name)
	delete(a.documents, name)
	delete(a.links, name)
}

// maxLinks is how many links may follow one another. Docker writes one.
const maxLinks = 8

var errMissing = errors.New("is not in the archive")

// find returns the content at a path, through links, or errMissing.
func (a *archive) find(name string) (*content, error) {
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
	return nil, fmt.Errorf("%q %w", name, errMissing)
}

// entryPath cleans the path of an entry, which must not lead out of the archive.
func entryPath(name string) (string, error) {
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errOutside
	}
	return clean, nil
}

var errOutside = errors.New("the path leads out of the archive")

func readDocument(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, layout.MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > layout.MaxManifest {
		return nil, fmt.Errorf("longer than %d bytes", layout.MaxManifest)
	}
	return b, nil
}

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
	if a.documents[dockerManifests] == nil && a.documents[ociIndex] == nil {
		return fmt.Errorf("the input is no image archive, or ends early: it has neither %s nor %s", dockerManifests, ociIndex)
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
		return fmt.Errorf("the archive ends early, in %q", name)
	}
	return fmt.Errorf("reading %q from the archive: %w", name, err)
}
