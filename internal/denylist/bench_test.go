package denylist

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
)

const longList = 500_000

// longLists returns lists of n rules of one kind.
func longLists(n int) map[string][]byte {
	kinds := map[string]func(i int) string{
		"badbits": func(i int) string { return fmt.Sprintf("//%x", sha256.Sum256(fmt.Append(nil, i))) },
		"double hashes": func(i int) string {
			return "//" + numbered(i).Hash().B58String()
		},
		"CIDs":  func(i int) string { return "/ipfs/" + numbered(i).String() },
		"paths": func(i int) string { return fmt.Sprintf("/ipfs/%s/app/blobs/*", numbered(i)) },
	}
	lists := map[string][]byte{}
	for kind, rule := range kinds {
		var text bytes.Buffer
		for i := range n {
			text.WriteString(rule(i) + "\n")
		}
		lists[kind] = text.Bytes()
	}
	return lists
}

func numbered(i int) cid.Cid {
	h, err := mh.Sum(fmt.Append(nil, i), mh.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.DagProtobuf, h)
}

func TestRulesTakeFortyBytesEach(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 40 {
		t.Errorf("a rule takes %d bytes", size)
	}
	const n = 20_000
	for kind, text := range longLists(n) {
		l, err := Parse("", bytes.NewReader(text))
		if err != nil {
			t.Fatal(kind, err)
		}
		entries := cap(l.content) + cap(l.names) + cap(l.hashed)
		if l.Len() != n || entries != n || cap(l.actions) > 1 {
			t.Errorf("%s: room for %d entries and %d actions for %d rules", kind, entries, cap(l.actions), l.Len())
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for kind, text := range longLists(longList) {
		b.Run(strings.ReplaceAll(kind, " ", "-"), func(b *testing.B) {
			for b.Loop() {
				l, err := Parse("", bytes.NewReader(text))
				if err != nil || l.Len() != longList {
					b.Fatal(l.Len(), err)
				}
			}
			b.ReportMetric(float64(unsafe.Sizeof(entry{})), "B/rule")
		})
	}
}

// BenchmarkCheck checks a request for a blob, with all CIDs on its path.
func BenchmarkCheck(b *testing.B) {
	for kind, text := range longLists(longList) {
		b.Run(strings.ReplaceAll(kind, " ", "-"), func(b *testing.B) {
			l, err := Parse("", bytes.NewReader(text))
			if err != nil {
				b.Fatal(err)
			}
			var lists Lists
			lists.current.Store(&snapshot{deny: []*List{l}})
			root, path := numbered(-1), "team/app/blobs/sha256:"+strings.Repeat("0", 64)
			resolved := []cid.Cid{numbered(-2), numbered(-3), numbered(-4), numbered(-5)}
			b.ReportAllocs()
			for b.Loop() {
				if err := lists.Check(root, path, resolved...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
