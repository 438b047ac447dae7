package registry

import (
	"context"
	"net/http"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/gateway"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

const (
	// maxRanges is how many parts an answer may have. podman asks for hundreds when it
	// pulls only what changed. A client that asks for more gets the whole blob, as HTTP
	// allows.
	maxRanges = 1024

	// gatewayGap is how many bytes between two parts are read from a gateway, and dropped,
	// rather than asked for anew. Gateways send whole leaves, often of this length.
	gatewayGap = 256 << 10

	// runCost is about how many unwanted bytes a gateway sends with each run: parts of
	// the leaves at its ends.
	runCost = 1 << 20

	// maxGathered is how many bytes of unsorted parts are kept in memory.
	maxGathered = 256 << 10
)

// Bounds of the unwanted bytes that one request makes gateways send: maxRatio times what
// is wanted, but minUnwanted in any case, and never more than maxUnwanted.
const (
	maxRatio    = 200
	minUnwanted = 4 << 20
	maxUnwanted = 64 << 20
)

// wantedRanges returns the parts that a client wants, or nil for the whole blob: if
// If-Range names other content, or if the header is malformed or has too many parts, in
// which case it is ignored. Only GET has ranges.
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

// satisfiable returns those of several ranges that have bytes in the blob, or none if the
// client should get the whole blob. It returns a single range unchanged, since that can be
// judged without the size.
func satisfiable(ctx context.Context, ranges []images.Range, b images.Blob) ([]images.Range, error) {
	if len(ranges) < 2 {
		return ranges, nil
	}
	size, err := b.Size(ctx)
	if err != nil {
		return nil, err
	}
	var parts []images.Range
	left := size // the most that all parts may have together
	for _, part := range ranges {
		from, to := part.Resolve(size)
		if from < to {
			parts = append(parts, images.Range{First: from, Last: to - 1})
		}
		if left -= to - from; left < 0 {
			return nil, nil
		}
	}
	if len(parts) == 0 {
		return ranges[:1], nil
	}
	return parts, nil
}

// isAffordable reports whether gateways may be asked for these parts of a blob. Otherwise
// the client gets the whole blob, which costs gateways no more than it costs the client.
func isAffordable(parts []images.Range) bool {
	if len(parts) < 2 {
		return true
	}
	wanted, read := lengthsOf(parts), int64(0)
	if !isAscending(parts) && wanted > maxGathered {
		return false
	}
	for _, run := range runsOf(ascending(parts), gatewayGap) {
		read += lengthOf(*span(run)) + runCost
	}
	return read-wanted <= min(maxUnwanted, max(minUnwanted, maxRatio*wanted))
}

func lengthsOf(parts []images.Range) (n int64) {
	for _, part := range parts {
		n += lengthOf(part)
	}
	return n
}
