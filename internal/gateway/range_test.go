package gateway

import "testing"

func TestOnlySingleRangesAreParsed(t *testing.T) {
	for s, want := range map[string]Range{
		"bytes=0-": {0, -1}, "bytes=5-9": {5, 9}, "bytes=-7": {-7, -1}, "bytes=0-0": {0, 0},
	} {
		got, ok := ParseRange(s)
		if !ok || got != want || got.String() != s {
			t.Errorf("ParseRange(%q) = %v, %v", s, got, ok)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes=", "bytes=-", "bytes=-0", "bytes=9-5", "bytes=+1-", "bytes=0x1-", "bytes=1-2,3-4",
		"items=0-", "0-", "bytes= 0-", "bytes=--1", "bytes=99999999999999999999-",
	} {
		if got, ok := ParseRange(s); ok {
			t.Errorf("ParseRange(%q) = %v", s, got)
		}
	}
}
