package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A Range is the part of a file in a Range header: the bytes First to Last, both
// included. If Last is negative, it extends to the end; if First is negative, it is the
// last -First bytes.
type Range struct{ First, Last int64 }

// String returns the value of a Range header.
func (r Range) String() string {
	switch {
	case r.First < 0:
		return fmt.Sprintf("bytes=%d", r.First)
	case r.Last < 0:
		return fmt.Sprintf("bytes=%d-", r.First)
	}
	return fmt.Sprintf("bytes=%d-%d", r.First, r.Last)
}

// Set puts the range into the header of a request.
func (r Range) Set(h http.Header) { h.Set("Range", r.String()) }

// Resolve returns the part [from, to) of a file of size bytes. It is empty if the
// range cannot be satisfied.
func (r Range) Resolve(size int64) (from, to int64) {
	from, to = r.First, size
	if from < 0 {
		from = max(0, size+from)
	}
	if r.First >= 0 && r.Last >= 0 {
		to = min(size, r.Last+1)
	}
	return min(from, to), to
}

// ParseRange parses a Range header with one range. For any other header ok is false,
// and the caller ignores it, as HTTP allows.
func ParseRange(header string) (r Range, ok bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !ok || !strings.HasPrefix(header, "bytes=") {
		return Range{}, false
	}
	if first == "" {
		n, err := parseOffset(last)
		return Range{-n, -1}, err == nil && n > 0
	}
	r = Range{Last: -1}
	var err error
	if r.First, err = parseOffset(first); err != nil {
		return Range{}, false
	}
	if last == "" {
		return r, true
	}
	r.Last, err = parseOffset(last)
	return r, err == nil && r.First <= r.Last
}

// parseOffset parses digits and nothing else.
func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err
}

// A ContentRange is the value of a Content-Range header: the bytes [From, To) of a file
// of Size bytes.
type ContentRange struct{ From, To, Size int64 }

// String returns the value of a Content-Range header.
func (c ContentRange) String() string {
	return fmt.Sprintf("bytes %d-%d/%d", c.From, c.To-1, c.Size)
}

var errContentRange = errors.New("malformed Content-Range")

// Partial returns the part of a file that the body of a 206 holds. Exchange.Accept may
// return its errors: another status is not the gateway's fault, and a malformed header
// is.
func Partial(resp *http.Response) (ContentRange, error) {
	if resp.StatusCode != http.StatusPartialContent {
		err := fmt.Errorf("%s in answer to a range", resp.Status)
		if resp.StatusCode == http.StatusOK {
			err = ErrNoRanges
		}
		return ContentRange{}, Soft(err)
	}
	header := resp.Header.Get("Content-Range")
	part, size, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	first, last, _ := strings.Cut(part, "-")
	from, err1 := parseOffset(first)
	to, err2 := parseOffset(last)
	n, err3 := parseOffset(size)
	c := ContentRange{from, to + 1, n}
	if errors.Join(err1, err2, err3) != nil || c.String() != header {
		return ContentRange{}, fmt.Errorf("%w: %q", errContentRange, header)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != c.To-c.From {
		return ContentRange{}, fmt.Errorf("%s with %d bytes", c, resp.ContentLength)
	}
	return c, nil
}

// ErrNoRanges says that a gateway answered a request for a range with the whole file,
// as HTTP allows.
var ErrNoRanges = errors.New("the whole file in answer to a range")

// ErrRange says that no byte of the file is in the range. The error is a RangeError.
var ErrRange = errors.New("the range is not within the file")

// A RangeError is an ErrRange with the size of the file in bytes.
type RangeError struct{ Size int64 }

func (e RangeError) Error() string { return fmt.Sprintf("%v of %d bytes", ErrRange, e.Size) }

func (e RangeError) Unwrap() error { return ErrRange }
