package caddymodule

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// Several parts in one answer are the same from everywhere.
func TestSeveralRanges(t *testing.T) {
	im := newImages(t)
	size := len(im.layer)
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
			resp, body := s.get(t, status, im.blob(t, im.layer), "Range", test.header)
			if resp.ContentLength != int64(len(body)) {
				t.Errorf("%s: %s: Content-Length %d of %d bytes", source, test.header, resp.ContentLength, len(body))
			}
			if test.parts == nil {
				if !bytes.Equal(body, im.layer) {
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
				if err != nil || !bytes.Equal(got, im.layer[want[0]:want[1]]) || part.Header.Get("Content-Range") != of {
					t.Errorf("%s: %s: %d bytes as %q, %v", source, test.header, len(got), part.Header.Get("Content-Range"), err)
				}
			}
			if _, err := parts.NextPart(); err != io.EOF {
				t.Errorf("%s: %s: after all parts: %v", source, test.header, err)
			}
		}
		resp, _ := s.get(t, http.StatusRequestedRangeNotSatisfiable, im.blob(t, im.layer), "Range", "bytes=9999998-,9999999-")
		if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes */%d", size); got != want {
			t.Errorf("%s: Content-Range: %s, want %s", source, got, want)
		}
	}
}

// Whoever wants many parts gets the whole, and so does whoever wants parts that
// gateways do not give.
func TestSeveralRangesThatGatewaysDoNotGive(t *testing.T) {
	im := newImages(t)
	many := "bytes=" + strings.TrimSuffix(strings.Repeat("1-2,", maxParts+1), ",")
	whole := im.gateway(t).breaks(func(w http.ResponseWriter, _ *http.Request, content []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content)
	})
	for _, test := range []struct {
		header string
		Handler
	}{
		{many, gateways(im.gateway(t))},
		{many, Handler{Store: &Store{Directory: im.store(t)}}},
		{"bytes=1-2,5-6", gateways(whole)},
	} {
		resp, body := newSite(t, test.Handler).get(t, http.StatusOK, im.blob(t, im.layer), "Range", test.header)
		if !bytes.Equal(body, im.layer) {
			t.Errorf("%s: %d bytes", test.header, len(body))
		}
		checkHeader(t, resp, blobType, digest.FromBytes(im.layer), len(im.layer), forever)
	}
}

// A part that nobody can give any more ends the answer.
func TestSeveralRangesBreakOff(t *testing.T) {
	im := newImages(t)
	g := im.gateway(t)
	g.breaks(func(w http.ResponseWriter, r *http.Request, content []byte) {
		if strings.HasPrefix(r.Header.Get("Range"), "bytes=5-") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		honest(w, r, content)
	})
	s := newSite(t, gateways(g))
	resp, body, err := s.do(t, http.MethodGet, im.blob(t, im.layer), "Range", "bytes=0-299999,5-6")
	if err == nil || resp.StatusCode != http.StatusPartialContent || len(s.logged("blob cut off")) != 1 {
		t.Errorf("%s, %d bytes, %v", resp.Status, len(body), err)
	}
}
