package provide

import (
	"net/http/httptest"
	"net/url"
	"testing"
)

// The part of a file that a client asks for lies within the file.
func FuzzByteRange(f *testing.F) {
	for _, s := range []string{"0:*", "0:0", "-1:*", "-10:-5", "5:1", "9223372036854775807:9223372036854775807", "-9223372036854775808:-9223372036854775808"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		part, err := parseByteRange(s)
		if err != nil || size < 0 {
			return
		}
		if from, to := part.of(size); from < 0 || from > to || to > size {
			t.Errorf("%s of %d bytes is [%d, %d)", s, size, from, to)
		}
	})
}

func TestByteRanges(t *testing.T) {
	for s, want := range map[string][2]int64{
		"0:*": {0, 100}, "0:99": {0, 100}, "0:0": {0, 1}, "10:19": {10, 20}, "90:1000": {90, 100},
		"-10:*": {90, 100}, "-10:-1": {90, 100}, "-10:-6": {90, 95}, "499:-1000": {0, 0}, "100:*": {100, 100}, "5:1": {2, 2}, "-1000:*": {0, 100},
	} {
		part, err := parseByteRange(s)
		check(t, err)
		if from, to := part.of(100); from != want[0] || to != want[1] {
			t.Errorf("%s is [%d, %d), want %v", s, from, to, want)
		}
	}
}

// Every request is either passed on, or has a root or a name.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"/ipfs/" + lackingCID + "/a/b", "/ipfs/bafkqaaa", "/ipns/k51qzi5uqu5dgutdk6i1ynyzgkqngpha5xpgia3a5qqp4jsh0u4csozksxel2r", "/ipfs//", "/ipns/..", "ipfs/x"} {
		f.Add(path, "format=ipns-record&entity-bytes=0:*", "application/vnd.ipld.car; dups=y, */*")
	}
	f.Fuzz(func(t *testing.T, path, query, accept string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Accept", accept)
		if req, ok := Parse(r); ok && req.Root.Defined() == (req.Name != "") {
			t.Errorf("%s has the root %s and the name %q", path, req.Root, req.Name)
		}
	})
}
