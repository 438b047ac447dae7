package registry

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images/imagestest"
)

// An answer with several parts does not depend on the source.
func TestSeveralRanges(t *testing.T) {
	im := imagestest.New(t)
	size := len(im.Layer)
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		for _, test := range []struct {
			header string
			parts  [][2]int // from, to; the whole if none
		}{
			{"bytes=1-2,700000-", [][2]int{{1, 3}, {700000, size}}},
			{"bytes=5-9, -7, 300000-300001", [][2]int{{5, 10}, {size - 7, size}, {300000, 300002}}},
			{"bytes=1-2,9999999-,3-4", [][2]int{{1, 3}, {3, 5}}},
			{"bytes=0-,0-", nil}, // more than there is
		} {
			status := http.StatusPartialContent
			if test.parts == nil {
				status = http.StatusOK
			}
			resp, body := s.get(t, status, im.BlobURL(t, im.Layer), "Range", test.header)
			if resp.ContentLength != int64(len(body)) {
				t.Errorf("%s: %s: Content-Length %d of %d bytes", source, test.header, resp.ContentLength, len(body))
			}
			if test.parts == nil {
				if !bytes.Equal(body, im.Layer) {
					t.Errorf("%s: %s: %d bytes", source, test.header, len(body))
				}
				continue
			}
			_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
			if err != nil {
				t.Fatalf("%s: %s: %v", source, test.header, err)
			}
			parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
			for _, want := range test.parts {
				part, err := parts.NextPart()
				if err != nil {
					t.Fatalf("%s: %s: %v", source, test.header, err)
				}
				got, err := io.ReadAll(part)
				of := fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, size)
				if err != nil || !bytes.Equal(got, im.Layer[want[0]:want[1]]) || part.Header.Get("Content-Range") != of {
					t.Errorf("%s: %s: %d bytes as %q, %v", source, test.header, len(got), part.Header.Get("Content-Range"), err)
				}
			}
			if _, err := parts.NextPart(); err != io.EOF {
				t.Errorf("%s: %s: after all parts: %v", source, test.header, err)
			}
		}
		resp, _ := s.get(t, http.StatusRequestedRangeNotSatisfiable, im.BlobURL(t, im.Layer), "Range", "bytes=9999998-,9999999-")
		if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes */%d", size); got != want {
			t.Errorf("%s: Content-Range: %s, want %s", source, got, want)
		}
	}
}

// podman asks for hundreds of parts of one blob: all of them come in one answer, in the
// order of the request, none merged with another.
func TestHundredsOfRangesComeInOrder(t *testing.T) {
	im := imagestest.New(t)
	var header strings.Builder
	var from []int
	for i := range maxRanges {
		from = append(from, (i*7919)%(len(im.Layer)-10)) // neither sorted nor apart
		fmt.Fprintf(&header, ",%d-%d", from[i], from[i]+9)
	}
	for source, handler := range sources {
		s := newSite(t, handler(t, im))
		resp, body := s.get(t, http.StatusPartialContent, im.BlobURL(t, im.Layer), "Range", "bytes="+header.String()[1:])
		_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if err != nil || resp.ContentLength != int64(len(body)) {
			t.Fatalf("%s: %d bytes of %d, %v", source, len(body), resp.ContentLength, err)
		}
		parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for i, at := range from {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatalf("%s: part %d: %v", source, i, err)
			}
			got, err := io.ReadAll(part)
			if err != nil || !bytes.Equal(got, im.Layer[at:at+10]) {
				t.Fatalf("%s: part %d: %q, %v", source, i, part.Header.Get("Content-Range"), err)
			}
		}
		if _, err := parts.NextPart(); err != io.EOF {
			t.Errorf("%s: after all parts: %v", source, err)
		}
	}
}

// Many small parts cost gateways no more than a few leaves each, and no leaf many times.
func TestGatewaysSendLittleForManyRanges(t *testing.T) {
	im := imagestest.New(t)
	var sent atomic.Int64
	g := im.Gateway(t).Breaks(func(w http.ResponseWriter, r *http.Request, body []byte) {
		counted := &countedWriter{ResponseWriter: w}
		imagestest.Honest(counted, r, body)
		sent.Add(counted.n)
	})
	s := newSite(t, gateways(g))
	for name, step := range map[string]int{"ascending": 683, "unsorted": 7919} {
		var header strings.Builder
		for i := range maxRanges {
			at := (i * step) % len(im.Layer)
			fmt.Fprintf(&header, ",%d-%d", at, at)
		}
		sent.Store(0)
		resp, body := s.get(t, http.StatusPartialContent, im.BlobURL(t, im.Layer), "Range", "bytes="+header.String()[1:])
		_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		for i := range maxRanges {
			at := (i * step) % len(im.Layer)
			part, err := parts.NextPart()
			if err != nil {
				t.Fatalf("%s: part %d: %v", name, i, err)
			}
			if got, err := io.ReadAll(part); err != nil || len(got) != 1 || got[0] != im.Layer[at] {
				t.Fatalf("%s: part %d: %x, %v", name, i, got, err)
			}
		}
		if most := int64(2*len(im.Layer) + 64<<10); sent.Load() > most {
			t.Errorf("%s: the gateway sent %d bytes, more than %d", name, sent.Load(), most)
		}
	}
}

type countedWriter struct {
	http.ResponseWriter
	n int64
}

func (w *countedWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.n += int64(n)
	return n, err
}

// Parts are served from gateways only if they cost less than the bounds allow.
func TestRangesThatCostTooMuch(t *testing.T) {
	every := func(n int, step, size int64) (parts []images.Range) {
		for i := range int64(n) {
			parts = append(parts, images.Range{First: i * step, Last: i*step + size - 1})
		}
		return parts
	}
	backwards := func(parts []images.Range) []images.Range {
		slices.Reverse(parts)
		return parts
	}
	for name, test := range map[string]struct {
		parts []images.Range
		want  bool
	}{
		"one byte":                            {every(1, 1, 1), true},
		"the end of a file of unknown size":   {[]images.Range{{First: -7, Last: -1}}, true},
		"a few bytes far apart":               {every(4, 1<<30, 1), true},
		"many bytes far apart":                {every(1024, 10<<20, 1), false},
		"many bytes with gaps of a leaf":      {every(1024, 256<<10, 1), false},
		"what podman asks for":                {every(300, 50<<10, 5<<10), true},
		"60 pieces of 6 KiB far apart":        {every(60, 10<<20, 6<<10), true},
		"more than the most, however much":    {every(65, 10<<20, 5<<20), false},
		"small pieces in any order":           {backwards(every(1000, 1000, 10)), true},
		"large pieces in another order":       {backwards(every(2, 1<<20, 1<<20)), false},
		"large pieces in the blob's order":    {every(2, 1<<20, 1<<20), true},
		"pieces of which one covers all more": {append(every(1, 1, 200<<10), every(100, 1000, 10)...), true},
	} {
		if got := isAffordable(test.parts); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A client that asks for too many parts gets the whole blob.
func TestTooManyRangesGiveTheWhole(t *testing.T) {
	im := imagestest.New(t)
	many := "bytes=" + strings.TrimSuffix(strings.Repeat("1-2,", maxRanges+1), ",")
	for _, c := range []setup{gateways(im.Gateway(t)), stored(t, im)} {
		resp, body := newSite(t, c).get(t, http.StatusOK, im.BlobURL(t, im.Layer), "Range", many)
		if !bytes.Equal(body, im.Layer) {
			t.Errorf("%d bytes", len(body))
		}
		checkHeader(t, resp, blobType, digest.FromBytes(im.Layer), len(im.Layer), forever)
	}
}

// An answer ends at a part that no gateway can deliver.
func TestSeveralRangesBreakOff(t *testing.T) {
	im := imagestest.New(t)
	g := im.Gateway(t)
	s := newSite(t, gateways(g))
	s.get(t, 206, im.BlobURL(t, im.Layer), "Range", "bytes=0-99999") // so that only leaves are asked for from now on
	var parts atomic.Int64
	g.Breaks(func(w http.ResponseWriter, r *http.Request, body []byte) {
		if parts.Add(1) > 1 {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		imagestest.Honest(w, r, body)
	})
	resp, body, err := s.do(t, http.MethodGet, im.BlobURL(t, im.Layer), "Range", "bytes=0-99999,600000-600001")
	if err == nil || resp.StatusCode != http.StatusPartialContent || len(s.logged("blob cut off")) != 1 {
		t.Errorf("%s, %d bytes, %v", resp.Status, len(body), err)
	}
}
