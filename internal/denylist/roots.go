package denylist

import (
	"bufio"
	"bytes"
	"io"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// roots is an allow list: one CID on each line, in any spelling, and comments from "#"
// to the end of the line.
type roots struct{ sorted []key }

func parseRoots(_ string, r io.Reader) (*roots, error) {
	var list roots
	err := eachLine(bufio.NewReader(r), 0, func(line []byte, _ int) error {
		text, _, _ := bytes.Cut(line, []byte("#"))
		c, err := cidname.ParseAny(string(bytes.TrimSpace(text)))
		if err != nil {
			return err
		}
		list.sorted = append(list.sorted, keyOf(c.Hash()))
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.sorted, key.compare)
	return &list, nil
}

func (r *roots) has(root cid.Cid) bool {
	_, found := slices.BinarySearchFunc(r.sorted, keyOf(root.Hash()), key.compare)
	return found
}
