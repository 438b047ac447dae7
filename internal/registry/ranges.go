package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// maxRanges is how many parts are given in one answer. podman asks for hundreds when it
// pulls only what changed. A client that wants more gets the whole, as HTTP allows.
const maxRanges = 1024

// wantedRanges returns the parts that a client wants, nil for the whole: the client has
// another content, by If-Range, or the header makes no sense or has too many parts, and
// then is to be ignored. Only GET has ranges.
func wantedRanges(r Request, etag string) []images.Range {
	valid := r.Header.Get("If-Range")
	if r.Method != http.MethodGet || valid != "" && valid != etag {
		return nil
	}
	list, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || strings.Count(list, ",") >= maxRanges {
		return nil
	}
	parts := strings.Split(list, ",")
	ranges := make([]images.Range, len(parts))
	for i, part := range parts {
		if ranges[i], ok = gateway.ParseRange("bytes=" + strings.TrimSpace(part)); !ok {
			return nil
		}
	}
	return ranges
}

// satisfiable returns those of several ranges that have bytes in the blob, none if the
// client should get the whole. A single range is returned as it is, since it can be
// judged without the size.
func satisfiable(ctx context.Context, ranges []images.Range, b images.Blob) ([]images.Range, error) {
	if len(ranges) < 2 {
		return ranges, nil
	}
	size, err := b.Size(ctx)
	if err != nil {
		return nil, err
	}
	var (
		parts []images.Range
		sum   int64
	)
	for _, part := range ranges {
		if from, to := part.Resolve(size); from < to {
			parts = append(parts, images.Range{First: from, Last: to - 1})
			sum += to - from
		}
	}
	switch {
	case len(parts) == 0:
		return ranges[:1], nil
	case sum > size:
		return nil, nil
	}
	return parts, nil
}

func contentRange(from, to, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", from, to-1, size)
}
