package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/wrapping"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// FromArchive returns the source of the images in an archive of Docker or of an OCI
// layout, which is read to its end. Errors name the archive if it is a file with a name.
func FromArchive(r io.Reader) Source { return archiveSource{tar: r} }

// FromDockerArchive is FromArchive for an archive whose images are those of its
// manifest.json, even if it has an index.json.
func FromDockerArchive(r io.Reader) Source { return archiveSource{tar: r, byDockerList: true} }

type archiveSource struct {
	tar          io.Reader
	byDockerList bool // manifest.json counts
}

// Image implements Source.
func (s archiveSource) Image() string { return "" }

// Open implements Source.
func (s archiveSource) Open(ws *blob.Workspace) (*Layout, error) {
	where := "the archive"
	file, isFile := s.tar.(*os.File)
	isFile = isFile && file != os.Stdin
	if isFile {
		where = file.Name()
	}
	l, err := readArchive(ws, s.tar, where)
	if err != nil && isFile {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if err != nil {
		return nil, err
	}
	if s.byDockerList && l.DockerList != nil {
		l.Index = nil
	}
	return l, nil
}

// An archiveReader reads the entries of a tar.
type archiveReader struct {
	*Layout
	entries  int
	holes    int64 // bytes of zeros that sparse files may still have
	contents wrapping.Contents
}

func readArchive(ws *blob.Workspace, r io.Reader, where string) (*Layout, error) {
	a := archiveReader{Layout: newLayout(ws, where), holes: maxHoles}
	return a.Layout, a.readAll(r)
}

// readAll reads a tar to its end.
func (a *archiveReader) readAll(r io.Reader) error {
	input, err := wrapping.Unwrap(a.ws.Source(newReadAhead(a.ws.Context, r)))
	if err != nil {
		return err
	}
	defer input.Close()
	for tr := tar.NewReader(input); ; a.entries++ {
		header, err := tr.Next()
		if err == io.EOF {
			return a.finish(input)
		}
		if err != nil {
			return input.Explain(archiveError(err, a.entries))
		}
		if err := a.readEntry(header, tr); err != nil {
			return input.Explain(err)
		}
	}
}

func (a *archiveReader) readEntry(header *tar.Header, r io.Reader) error {
	name, err := entryPath(header.Name)
	if errors.Is(err, errOutside) {
		return nil // nothing in the archive can name it
	}
	if err != nil {
		return entryError(header.Name, err)
	}
	if err := a.contents.Add(name); err != nil {
		return err
	}
	if err := a.addEntry(name, header, r); err != nil {
		return entryError(header.Name, err)
	}
	return nil
}

func (a *archiveReader) addEntry(name string, header *tar.Header, r io.Reader) error {
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return a.readFile(name, header, r)
	case tar.TypeSymlink:
		if path.IsAbs(header.Linkname) {
			return a.addLink(name, link{header.Linkname, true})
		}
		return a.readLink(name, path.Join(path.Dir(name), header.Linkname), header.Linkname)
	case tar.TypeLink:
		return a.readLink(name, header.Linkname, header.Linkname)
	}
	return nil
}

func (a *archiveReader) readFile(name string, header *tar.Header, r io.Reader) error {
	if isLegacy(name) {
		return nil
	}
	if err := a.files.reserve(name); err != nil {
		return err
	}
	if isSparse(header) {
		if header.Size > maxSparse {
			return fmt.Errorf("a sparse file of %d bytes, with at most %d allowed: %s", header.Size, int64(maxSparse), unpackSparse)
		}
		r = &sparseReader{r: r, left: &a.holes}
	}
	c, err := a.ws.Read(name, header.Size, r)
	if err == nil {
		a.files.contents[name] = c
	}
	return err
}

// readLink reads a link to a path of the archive. written is how the archive has it.
func (a *archiveReader) readLink(name, target, written string) error {
	clean, err := entryPath(target)
	if errors.Is(err, errOutside) {
		return a.addLink(name, link{written, true})
	}
	if err != nil {
		return err
	}
	return a.addLink(name, link{clean, false})
}

func (a *archiveReader) addLink(name string, l link) error {
	if err := a.files.reserve(name); err != nil {
		return err
	}
	a.files.links[name] = l
	return nil
}

// isLegacy reports whether a file is part of the image format of before Docker
// 1.10, which Docker still writes for clients of that time.
func isLegacy(name string) bool {
	base := path.Base(name)
	return name == "repositories" || name == "oci-layout" || name != base && (base == "VERSION" || base == "json")
}

// finish reads the rest of the input and the documents that say which images there
// are. The rest is read so that the program that writes it is not told that its
// reader is gone.
func (a *archiveReader) finish(in *wrapping.Reader) error {
	if a.entries == 0 {
		return &NotImagesError{What: "the input is empty"}
	}
	if in.Ended() {
		return errors.New("the archive ends early")
	}
	note, err := in.Finish()
	if err != nil {
		return err
	}
	if note != "" {
		a.Notes = append(a.Notes, note)
	}
	index, err := a.document(ocilayout.Index)
	if err != nil {
		return err
	}
	list, err := a.document(ocilayout.DockerList)
	if err != nil {
		return err
	}
	if index == nil && list == nil {
		return a.contents.Explain()
	}
	return a.parseDocuments(index, list)
}

// document returns the content of a file, or nil where there is none.
func (a *archiveReader) document(name string) ([]byte, error) {
	c, err := a.File(name)
	if manifest.IsMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.Document()
}

func archiveError(err error, entries int) error {
	damaged := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, tar.ErrHeader)
	switch {
	case damaged && entries == 0:
		return &NotImagesError{What: "the input is no image archive"}
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

// isSparse reports whether an entry has holes, which take no bytes in the archive.
func isSparse(header *tar.Header) bool {
	if header.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// maxHoles is how many bytes of zeros the sparse files of an archive may have together,
// and maxSparse how many bytes one of them may have. A few bytes of an archive stand
// for any number of zeros, and reading them takes time.
const (
	maxHoles  = 4 << 30
	maxSparse = 1 << 40
)

const unpackSparse = "unpack the archive and pack it without tar's -S"

// A sparseReader reads a file with holes, and fails once there were more zeros than
// are left to sparse files.
type sparseReader struct {
	r    io.Reader
	left *int64
}

func (s *sparseReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if *s.left -= int64(bytes.Count(p[:n], []byte{0})); *s.left < 0 {
		return 0, fmt.Errorf("sparse files with more than %d bytes of zeros: %s", int64(maxHoles), unpackSparse)
	}
	return n, err
}
