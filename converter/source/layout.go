package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A Layout is what a source holds, seen as an OCI layout with Docker's list of images
// beside it. It is for one goroutine.
type Layout struct {
	// Where is what to call the source in messages.
	Where string

	// Index is what index.json says, and nil where there is none.
	// https://github.com/opencontainers/image-spec/blob/main/image-layout.md
	Index *v1.Index

	// DockerList is what manifest.json says, if there is one. Index is to be
	// preferred: it names manifests, and the list only what to make them of.
	DockerList []ocilayout.DockerEntry

	// Notes are what the user should know of the source, a line each.
	Notes []string

	// Published is set where manifests are known elsewhere by their digests, so
	// that they must keep their bytes. Those in archives may be made up.
	Published bool

	ws    *blob.Workspace
	files files

	// fetch opens a blob that is not among the files. Where there is none, the
	// error is a MissingError. It is nil where everything was read.
	fetch   func(context.Context, v1.Descriptor) (io.ReadCloser, error)
	missing map[digest.Digest]error // what fetch has not found

	// hideDigests keeps the digests of wrong blobs out of errors: a link may lead to
	// a file that only the user can read.
	hideDigests bool

	// listReferrers lists the referrers of a manifest that are not in the index, or is
	// nil.
	listReferrers func(digest.Digest) ([]v1.Descriptor, error)
}

func newLayout(ws *blob.Workspace, where string) *Layout {
	return &Layout{Where: where, ws: ws, files: newFiles(), missing: map[digest.Digest]error{}}
}

// Blob returns the content of a descriptor, checked against its digest and size.
// The error is a MissingError if the source does not have it.
func (l *Layout) Blob(d v1.Descriptor) (*blob.Content, error) {
	if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
		return nil, err
	}
	c, err := l.findBlob(d)
	if err != nil {
		return nil, err
	}
	right, err := c.Is(d.Digest)
	switch {
	case err != nil:
		return nil, err
	case !right && l.hideDigests:
		return nil, fmt.Errorf("%s does not have the digest that it is called by", c.Name)
	case !right:
		return nil, fmt.Errorf("%s has the digest %s", c.Name, c.Digest)
	case c.Size != d.Size:
		return nil, fmt.Errorf("%s has %d bytes, and its descriptor says %d", c.Name, c.Size, d.Size)
	}
	return c, nil
}

func (l *Layout) findBlob(d v1.Descriptor) (*blob.Content, error) {
	name := ocilayout.BlobPath(d.Digest)
	c, err := l.File(name)
	if err == nil || !manifest.IsMissing(err) {
		return c, err
	}
	if d.Data != nil {
		return l.put(name, d.Data)
	}
	if l.fetch == nil {
		return nil, err
	}
	if err := l.Prefetch([]v1.Descriptor{d}); err != nil {
		return nil, err
	}
	if err := l.missing[d.Digest]; err != nil {
		return nil, err
	}
	return l.File(name)
}

// put adds a file that came some other way.
func (l *Layout) put(name string, data []byte) (*blob.Content, error) {
	c, err := l.ws.Read(name, int64(len(data)), l.ws.Source(bytes.NewReader(data)))
	if err != nil {
		return nil, err
	}
	l.files.contents[name] = c
	return c, nil
}

// File returns the content at a path, as Docker's list names it. Where there is none,
// the error is a MissingError.
func (l *Layout) File(name string) (*blob.Content, error) {
	c, err := l.files.find(name)
	if c == nil && err == nil {
		err = &manifest.MissingError{What: fmt.Sprintf("%q", name), Where: l.Where}
	}
	return c, err
}

// Document returns the bytes of a manifest or config.
func (l *Layout) Document(d v1.Descriptor) ([]byte, error) {
	c, err := l.Blob(d)
	if err != nil {
		return nil, err
	}
	return c.Document()
}

// Referrers returns the manifests that refer to a subject and that the index does not
// name, as far as the source has them. It leaves out, and reports to logf, what the
// source lists and does not have.
func (l *Layout) Referrers(subject digest.Digest, logf func(string, ...any)) ([]v1.Descriptor, error) {
	if l.listReferrers == nil {
		return nil, nil
	}
	listed, err := l.listReferrers(subject)
	if err != nil {
		return nil, err
	}
	if err := l.Prefetch(listed); err != nil {
		return nil, err
	}
	var present []v1.Descriptor
	for _, d := range listed {
		if err := l.missing[d.Digest]; err != nil {
			logf("a referrer of the image is left out: %v", err)
			continue
		}
		present = append(present, d)
	}
	return present, nil
}

// fetches is how many blobs are fetched at a time.
const fetches = 3

// Prefetch fetches blobs, several at a time, so that Blob finds them. A missing one is
// no error here.
func (l *Layout) Prefetch(descriptors []v1.Descriptor) error {
	if l.fetch == nil {
		return nil
	}
	g, ctx := errgroup.WithContext(l.ws.Context)
	g.SetLimit(fetches)
	var mu sync.Mutex
	for _, d := range l.unfetched(descriptors) {
		g.Go(func() error {
			c, err := l.fetchBlob(ctx, d)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				l.files.contents[c.Name] = c
			case manifest.IsMissing(err):
				l.missing[d.Digest] = err
			default:
				return err
			}
			return nil
		})
	}
	return g.Wait()
}

// unfetched returns the blobs that were not asked for before, each once.
func (l *Layout) unfetched(descriptors []v1.Descriptor) []v1.Descriptor {
	var unfetched []v1.Descriptor
	asked := map[digest.Digest]bool{}
	for _, d := range descriptors {
		if asked[d.Digest] || l.missing[d.Digest] != nil || d.Data != nil {
			continue
		}
		if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
			continue
		}
		if _, err := l.File(ocilayout.BlobPath(d.Digest)); err == nil {
			continue
		}
		asked[d.Digest] = true
		unfetched = append(unfetched, d)
	}
	return unfetched
}

func (l *Layout) fetchBlob(ctx context.Context, d v1.Descriptor) (*blob.Content, error) {
	r, err := l.fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c, err := l.ws.Read(ocilayout.BlobPath(d.Digest), d.Size, &exactReader{l.ws.Source(r), d.Size})
	if err != nil {
		return nil, fmt.Errorf("reading %s from %s: %w", d.Digest, l.Where, err)
	}
	return c, nil
}

// An exactReader reads exactly n bytes: it fails where r has fewer, or more.
type exactReader struct {
	r io.Reader
	n int64
}

var errLonger = errors.New("it is longer than its descriptor says")

func (e *exactReader) Read(p []byte) (int, error) {
	if most := max(e.n, 0); int64(len(p)) > most {
		p = p[:most+1] // one byte more shows that r is longer
	}
	n, err := e.r.Read(p)
	e.n -= int64(n)
	switch {
	case e.n < 0:
		return 0, errLonger
	case err == io.EOF && e.n > 0:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// byteOrderMark is what some editors put in front of a text.
var byteOrderMark = []byte("\xef\xbb\xbf")

// parseDocuments reads index.json and manifest.json, either of which may be nil.
func (l *Layout) parseDocuments(index, dockerList []byte) error {
	if index != nil {
		l.Index = new(v1.Index)
		if err := json.Unmarshal(bytes.TrimPrefix(index, byteOrderMark), l.Index); err != nil {
			return fmt.Errorf("reading %s: %w", ocilayout.Index, err)
		}
	}
	if dockerList == nil {
		return nil
	}
	dockerList = bytes.TrimSpace(bytes.TrimPrefix(dockerList, byteOrderMark))
	if bytes.HasPrefix(dockerList, []byte("{")) {
		if bytes.Contains(dockerList, []byte(`"schemaVersion"`)) {
			return &SkopeoDirError{l.Where}
		}
		return fmt.Errorf("%s in %s is one object, and Docker writes a list of images there", ocilayout.DockerList, l.Where)
	}
	if err := json.Unmarshal(dockerList, &l.DockerList); err != nil {
		return fmt.Errorf("reading %s: %w", ocilayout.DockerList, err)
	}
	return nil
}
