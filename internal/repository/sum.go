package repository

import (
	"context"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cut"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A sum is what is computed of an upload as its bytes come: its digest and its leaves.
type sum struct {
	size   int64
	hash   hash.Hash // sha256
	cutter *cut.Cutter
}

func newSum() *sum {
	return &sum{hash: digest.SHA256.Hash(), cutter: cut.NewCutter(unixfs.V1)}
}

// close releases what the cutter holds. Sums that are not put back must be closed.
func (s *sum) close() {
	if s != nil {
		s.cutter.Close()
	}
}

// add adds the next bytes.
func (s *sum) add(b []byte) error {
	if s == nil {
		return nil
	}
	s.hash.Write(b)
	if _, err := s.cutter.Write(b); err != nil {
		return err
	}
	s.size += int64(len(b))
	return nil
}

func (s *sum) sha256() digest.Digest { return digest.NewDigest(digest.SHA256, s.hash) }

// digest returns the digest of an upload's bytes by an algorithm. Only for sha256 it is known.
func (s *sum) digest(ctx context.Context, u *store.Upload, a digest.Algorithm) (digest.Digest, error) {
	if a == digest.SHA256 {
		return s.sha256(), nil
	}
	h := a.Digester()
	_, err := io.Copy(h.Hash(), bytesOf(ctx, u))
	return h.Digest(), err
}

// file returns the DAG of the bytes. Nothing may be added afterwards.
func (s *sum) file() (*unixfs.File, error) { return s.cutter.File() }

// sums are the sums of uploads that no request is adding to at the moment, by ID. They are
// kept in memory, and for a short time, since neither the state of a hash nor that of the
// cutting has a form that lasts. The sums of an upload that is continued later, after a restart
// or in another process, are lost: nil. They are then computed from the bytes on disk when the
// upload is finished. If they were computed earlier, each small request could cause a large
// upload to be read.
type sums struct {
	mu   sync.Mutex
	idle map[string]*sum
}

const (
	// idleFor is how long the sums of an upload wait for its next bytes.
	idleFor = time.Minute

	// maxIdle is how many sums wait at most. One takes about as much memory as a leaf.
	maxIdle = 64
)

// take returns the sums of an open upload, or nil if they are lost.
func (all *sums) take(id string, u *store.Upload) *sum {
	all.mu.Lock()
	s := all.idle[id]
	delete(all.idle, id)
	all.mu.Unlock()
	if s != nil && s.size == u.Size {
		return s
	}
	s.close()
	if u.Size > 0 {
		return nil
	}
	return newSum()
}

// complete returns the sums of an open upload. It reads the upload if they are lost.
func (all *sums) complete(ctx context.Context, id string, u *store.Upload) (*sum, error) {
	if s := all.take(id, u); s != nil {
		return s, nil
	}
	s := newSum()
	if err := s.read(ctx, u); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// put keeps sums for the next request that adds to the upload.
func (all *sums) put(id string, s *sum) {
	if s == nil {
		return
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(all.idle) >= maxIdle {
		s.close()
		return
	}
	if all.idle == nil {
		all.idle = map[string]*sum{}
	}
	all.idle[id] = s
	time.AfterFunc(idleFor, func() { all.drop(id, s) })
}

// drop forgets sums, unless others took their place.
func (all *sums) drop(id string, s *sum) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.idle[id] == s {
		delete(all.idle, id)
		s.close()
	}
}

// read adds all bytes of an upload.
func (s *sum) read(ctx context.Context, u *store.Upload) error {
	from := bytesOf(ctx, u)
	buf := make([]byte, received)
	for {
		n, err := from.Read(buf)
		if err := s.add(buf[:n]); err != nil {
			return err
		}
		switch {
		case err == io.EOF && s.size == u.Size:
			return nil
		case err == io.EOF:
			return fmt.Errorf("an upload of %d bytes ends after %d", u.Size, s.size)
		case err != nil:
			return err
		}
	}
}

// bytesOf reads the bytes that an upload had when it was opened, until ctx is done.
func bytesOf(ctx context.Context, u *store.Upload) io.Reader {
	return reader{ctx, io.NewSectionReader(u, 0, u.Size)}
}

type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(b)
}
