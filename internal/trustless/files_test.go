package trustless

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// What a file is made of is asked for once, whatever parts of it are wanted after
// that, and by how many at the same time.
func TestFilesAreRemembered(t *testing.T) {
	for _, p := range []unixfs.Profile{unixfs.V0, unixfs.V1} {
		pub := publish(t, p)
		s := session(pub)
		if err := pub.check(t, s); err != nil {
			t.Fatal(err)
		}
		s.blocks = newCache(func(b []byte) int { return len(b) })
		pub.refuses = map[gateway.Format]bool{gateway.CAR: true, gateway.Raw: true}
		s.Failed = func(f gateway.Failure) { t.Error(f) }
		for _, part := range []*gateway.Range{nil, {First: 5, Last: 250_000}} {
			var k sink
			if err := s.Copy(t.Context(), pub.root, "app/blobs/b", part, &k); err != nil || int64(k.Len()) != k.to-k.from {
				t.Errorf("%s: %d bytes, %v", p, k.Len(), err)
			}
		}
	}
}

// Whoever asks first may leave: who waits for the same gets it. When nobody waits
// any more, nobody looks.
func TestLookupOutlivesWhoeverBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles()
		var begun, ended atomic.Int64
		find := func(ctx context.Context) (*file, error) {
			begun.Add(1)
			select {
			case <-time.After(time.Minute):
				return &file{size: begun.Load()}, nil
			case <-ctx.Done():
				ended.Add(1)
				return nil, ctx.Err()
			}
		}
		left := errors.New("left")
		ask := func(patience time.Duration) {
			ctx, leave := context.WithCancelCause(t.Context())
			defer leave(nil)
			time.AfterFunc(patience, func() { leave(left) })
			got, err := f.get(ctx, "path", find)
			if stays := patience > time.Minute; stays != (err == nil) || !stays && !errors.Is(err, left) || stays && got.size != 1+ended.Load() {
				t.Errorf("who waits for %s gets %+v, %v", patience, got, err)
			}
		}
		for _, patience := range []time.Duration{1, 2, 3} {
			go ask(patience * time.Second)
		}
		synctest.Wait()
		clocktest.Advance(10 * time.Second)
		if begun.Load() != 1 || ended.Load() != 1 || len(f.under) > 0 {
			t.Errorf("for those who left, %d began and %d ended, %d are under way", begun.Load(), ended.Load(), len(f.under))
		}
		go ask(time.Second)
		for range 100 {
			go ask(time.Hour)
		}
		clocktest.Advance(2 * time.Minute)
		ask(time.Hour) // remembered
		if begun.Load() != 2 {
			t.Errorf("for those who stayed, %d began", begun.Load()-1)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache((*file).bytes)
	leaves := make([]unixfs.Leaf, maxLeaves)
	for _, name := range []string{"a", "b", "c", "a", "d"} {
		if _, ok := c.get(name); !ok {
			c.add(name, &file{table: &unixfs.Table{Leaves: leaves}})
		}
	}
	_, a := c.get("a")
	_, b := c.get("b")
	if !a || b || c.bytes > maxCached || c.lru.Len() != 3 {
		t.Errorf("%d bytes in %d files, of which the one used is remembered: %v, the one not used: %v", c.bytes, c.lru.Len(), a, b)
	}
}

// A gateway may give the whole where a part is wanted, and be slow about it: as
// long as what it gives is right, it is waited for.
func TestGatewayWithoutRangesIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pub, whole := publish(t, unixfs.V1), publish(t, unixfs.V1)
		pub.damage = func(f gateway.Format, body []byte) []byte {
			if f == gateway.Plain {
				body[len(body)/2] ^= 1
			}
			return body
		}
		var slow fake = func(r *http.Request) *http.Response {
			if r.URL.Query().Get("format") != "" {
				return status(http.StatusNotAcceptable)(r)
			}
			body := bytes.NewReader(whole.blob)
			resp := response(200, nil, body)
			resp.Body = io.NopCloser(readerFunc(func(b []byte) (int, error) {
				select {
				case <-time.After(gateway.Patience * 9 / 10):
					return body.Read(b[:min(len(b), 200)]) // a leaf
				case <-r.Context().Done():
					return 0, r.Context().Err()
				}
			}))
			return resp
		}
		s := sessionWith(pub.fake(), slow)
		var k sink
		strikes := 0
		s.Failed = func(f gateway.Failure) {
			if f.Strike {
				strikes++
			}
		}
		err := s.Copy(t.Context(), pub.root, "app/blobs/b", nil, &k)
		if err != nil || !bytes.Equal(k.Bytes(), pub.blob) || strikes != 1 {
			t.Errorf("%d bytes, %v, %d strikes", k.Len(), err, strikes)
		}
	})
}
