package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// A Range is a part of a file as HTTP asks for it: from First to Last, both
// included; to the end where Last is negative; the last -First bytes where
// First is.
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

// Set asks for the range in the header of a request.
func (r Range) Set(h http.Header) { h.Set("Range", r.String()) }

// Resolve returns the part of a file of size bytes, [from, to), which is empty
// where the range cannot be satisfied.
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

// ParseRange reads a Range header that asks for one part. Any other is to be
// ignored, which HTTP allows: ok is false.
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

// parseOffset reads digits and nothing else.
func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 62)
	return int64(n), err
}

// A ContentRange is what a Content-Range header says: the bytes [From, To) of a
// file of Size bytes.
type ContentRange struct{ From, To, Size int64 }

// String returns the value of a Content-Range header.
func (c ContentRange) String() string {
	return fmt.Sprintf("bytes %d-%d/%d", c.From, c.To-1, c.Size)
}

var errContentRange = errors.New("malformed Content-Range")

// Partial returns which part of a file the body of a 206 is. Its errors are for
// Exchange.Accept to return: a gateway that answers with another status is not to
// blame, and one whose header is malformed is.
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

// ErrNoRanges says that a gateway answers with the whole where a part was asked
// for, which HTTP allows.
var ErrNoRanges = errors.New("the whole in answer to a range")

// ErrRange says that a range has no byte in the file. The error holds a
// RangeError.
var ErrRange = errors.New("the range is not within the file")

// A RangeError is an ErrRange with the file's size.
type RangeError struct{ Size int64 }

func (e RangeError) Error() string { return fmt.Sprintf("%v of %d bytes", ErrRange, e.Size) }

func (e RangeError) Unwrap() error { return ErrRange }
