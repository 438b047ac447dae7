package trustless

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// An outcomes counts how attempts ended.
type outcomes struct{ well, failed atomic.Int64 }

func (o *outcomes) observe(ctx context.Context, _ string, _ gateway.Exchange) (context.Context, gateway.Attempt) {
	return ctx, counted{o, ctx}
}

type counted struct {
	*outcomes
	ctx context.Context
}

func (c counted) Answered(int) {}

func (c counted) Ended(f *gateway.Failure) {
	switch {
	case f == nil:
		c.well.Add(1)
	case c.ctx.Err() != nil: // a block that was asked for ahead is not wanted any more
	case !errors.Is(f, gateway.ErrRefused):
		c.failed.Add(1)
	}
}

// A satisfied is a sink that has enough after so many bytes.
type satisfied struct {
	sink
	enough int
}

func (s *satisfied) Write(b []byte) (int, error) {
	s.sink.Write(b)
	if s.Len() >= s.enough {
		return len(b), ErrEnough
	}
	return len(b), nil
}

func TestSinkWithEnoughIsNoFailureOfAGateway(t *testing.T) {
	for name, refuses := range map[string]map[gateway.Format]bool{
		"files": {}, "CARs": {gateway.Plain: true}, "blocks": {gateway.Plain: true, gateway.CAR: true},
	} {
		pub := publish(t, unixfs.V1)
		group := gateway.Group{Upstreams: []*url.URL{upstream(0)}, Transport: pub.fake()}
		var seen outcomes
		s := Session{Client: NewClient(Config{Pool: gateway.NewPool(gateway.Config{
			Groups: []gateway.Group{group}, Observer: seen.observe,
		})})}
		if _, err := s.Resolve(t.Context(), pub.at("app/blobs/b")); err != nil {
			t.Fatal(err)
		}
		pub.refuses = refuses
		for _, part := range []*gateway.Range{nil, {First: 1000, Last: -1}} {
			k := &satisfied{enough: 50_000}
			s.Copy(t.Context(), pub.at("app/blobs/b"), part, k) // learns what is refused
			seen.well.Store(0)
			seen.failed.Store(0)
			k = &satisfied{enough: 50_000}
			err := s.Copy(t.Context(), pub.at("app/blobs/b"), part, k)
			from := 0
			if part != nil {
				from = int(part.First)
			}
			if err != nil || k.Len() < 50_000 || !bytes.HasPrefix(pub.blob[from:], k.Bytes()) || k.Len() == len(pub.blob) {
				t.Errorf("%s, %v: %d bytes, %v", name, part, k.Len(), err)
			}
			if seen.failed.Load() > 0 || seen.well.Load() == 0 {
				t.Errorf("%s, %v: %d attempts ended well, %d failed", name, part, seen.well.Load(), seen.failed.Load())
			}
		}
	}
}
