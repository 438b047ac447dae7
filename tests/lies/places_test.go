package lies

import (
	"bytes"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/car"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A place is the part of an answer that a lie is about.
type place string

const (
	anywhere  place = "all of it"
	header    place = "header"         // of a CAR
	section   place = "section's head" // in a CAR: the length and CID of a block
	directory place = "directory"
	node      place = "node" // of a file, above its leaves
	leaf      place = "leaf"
)

// A span is the bytes [from, to) of an answer's body.
type span struct{ from, to int }

// at returns the offset of a span's first byte, middle byte or last byte.
func (s span) at(p position) int { return s.from + (s.to-1-s.from)*int(p)/2 }

type position int

const (
	first position = iota
	middle
	last
	positions
)

func (p position) String() string { return [...]string{"first", "middle", "last"}[p] }

// findPlaces finds the places of the answer. If a kind of place occurs several times, the
// lie is about the one in the middle, so that what comes before it is right.
func (a *answer) findPlaces() {
	a.places = map[place]span{}
	if !a.isContent() {
		return
	}
	a.places[anywhere] = span{0, len(a.body)}
	switch a.form { // the other forms have no parts
	case asBlock:
		name, _, _ := strings.Cut(strings.TrimPrefix(a.path, "/ipfs/"), "/")
		if c, err := cid.Decode(name); err == nil {
			a.places[kindOf(unixfs.Block{CID: c, Data: a.body})] = span{0, len(a.body)}
		}
	case asCAR:
		a.findSections()
	}
}

func (a *answer) findSections() {
	r, err := car.NewReader(bytes.NewReader(a.body))
	if err != nil {
		panic(err) // an honest node's CAR
	}
	found := map[place][]span{}
	end := 0
	for {
		c, n, err := r.Next()
		if err != nil {
			break
		}
		start := int(r.Offset())
		if end == 0 {
			end = start - sectionHead(c, n)
			found[header] = []span{{0, end}}
		}
		found[section] = append(found[section], span{end, start})
		kind := kindOf(unixfs.Block{CID: c, Data: a.body[start : start+n]})
		found[kind] = append(found[kind], span{start, start + n})
		end = start + n
	}
	for p, spans := range found {
		if spans = nonEmpty(spans); len(spans) > 0 {
			a.places[p] = spans[len(spans)/2]
		}
	}
}

func nonEmpty(spans []span) []span {
	var out []span
	for _, s := range spans {
		if s.from < s.to {
			out = append(out, s)
		}
	}
	return out
}

// sectionHead returns how many bytes come before the n bytes of a block in a CAR.
func sectionHead(c cid.Cid, n int) int {
	head := len(c.Bytes())
	for length := head + n; ; length >>= 7 {
		head++
		if length < 0x80 {
			return head
		}
	}
}

func kindOf(b unixfs.Block) place {
	children, isDirectory, err := unixfs.Children(b)
	switch {
	case err != nil:
		panic(err) // an honest node's block
	case isDirectory:
		return directory
	case len(children) > 0:
		return node
	}
	return leaf
}
