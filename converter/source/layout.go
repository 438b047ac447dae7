package converter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// blob returns the content that a descriptor speaks of, having checked it.
func (a *archive) blob(d v1.Descriptor) (*blob.Content, error) {
	if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
		return nil, err
	}
	c, err := a.findBlob(d)
	if err != nil {
		return nil, err
	}
	right, err := c.Is(d.Digest)
	if err != nil {
		return nil, err
	}
	if !right {
		return nil, fmt.Errorf("%s has the digest %s", c.Name, c.Digest)
	}
	if c.Size != d.Size {
		return nil, fmt.Errorf("%s has %d bytes, and its descriptor says %d", c.Name, c.Size, d.Size)
	}
	return c, nil
}

func (a *archive) findBlob(d v1.Descriptor) (*blob.Content, error) {
	c, err := a.find(ocilayout.BlobPath(d.Digest))
	switch {
	case err == nil:
		return c, nil
	case d.Data != nil:
		return a.put(d, d.Data)
	case a.fetch == nil:
		return nil, err
	}
	a.fetchAll([]v1.Descriptor{d})
	if err := a.failed[d.Digest]; err != nil {
		return nil, err
	}
	return a.find(ocilayout.BlobPath(d.Digest))
}

// put adds what stands elsewhere to the contents.
func (a *archive) put(d v1.Descriptor, data []byte) (*blob.Content, error) {
	c, err := a.ws.Read(ocilayout.BlobPath(d.Digest), int64(len(data)), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	a.contents[c.Name] = c
	return c, nil
}

// fetches is how many blobs are fetched at a time.
const fetches = 3

// fetchAll fetches those of the blobs that are not there yet, some at a time.
// What went wrong is seen when one of them is asked for.
func (a *archive) fetchAll(descriptors []v1.Descriptor) {
	if a.fetch == nil {
		return
	}
	ctx, cancel := context.WithCancelCause(a.ws.Context)
	defer cancel(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	free := make(chan struct{}, fetches)
	for _, d := range a.unfetched(descriptors) {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			c, err := a.fetchBlob(ctx, d)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				a.contents[c.Name] = c
				return
			}
			if !errors.Is(err, ocilayout.ErrMissing) {
				cancel(err) // the first of several, which then fail with it
				err = context.Cause(ctx)
			}
			a.failed[d.Digest] = err
		})
	}
	wg.Wait()
}

// unfetched returns what is neither there nor was asked for in vain, each once.
func (a *archive) unfetched(descriptors []v1.Descriptor) []v1.Descriptor {
	var unfetched []v1.Descriptor
	asked := map[digest.Digest]bool{}
	for _, d := range descriptors {
		if asked[d.Digest] || a.failed[d.Digest] != nil || d.Data != nil {
			continue
		}
		if _, err := layout.ParseDigest(d.Digest.String()); err != nil {
			continue
		}
		if _, err := a.find(ocilayout.BlobPath(d.Digest)); err == nil {
			continue
		}
		asked[d.Digest] = true
		unfetched = append(unfetched, d)
	}
	return unfetched
}

func (a *archive) fetchBlob(ctx context.Context, d v1.Descriptor) (*blob.Content, error) {
	r, err := a.fetch(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c, err := a.ws.Read(ocilayout.BlobPath(d.Digest), d.Size, &exactReader{r, d.Size})
	if err != nil {
		return nil, fmt.Errorf("reading %s from %s: %w", d.Digest, a.where, err)
	}
	return c, nil
}

// An exactReader reads n bytes, of which none may be missing and which nothing
// may follow.
type exactReader struct {
	r io.Reader
	n int64
}

var errLonger = errors.New("it is longer than its descriptor says")

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.r.Read(p[:min(int64(len(p)), max(e.n, 0)+1)])
	e.n -= int64(n)
	switch {
	case e.n < 0:
		return 0, errLonger
	case err == io.EOF && e.n > 0:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}
