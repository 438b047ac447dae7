package abuse

import (
	"fmt"
	"slices"
	"strings"
)

// directoryAttacks are directories that take far more to read than they are long.
var directoryAttacks = []attack{
	{finding: "1", sent: "tags of a directory of one shard, 15 times, of 100,000 links of one name", prepare: func(r *arena) func(*stranger) {
		inner := r.shard(256, slices.Repeat([]link{identity("x").named("00tag")}, 100_000)...)
		return r.tagsOf(r.shard(256, slices.Repeat([]link{inner.named("00")}, 15)...))
	}},
	{finding: "1a", sent: "tags of shards that link 256 times to one shard, eight deep", prepare: func(r *arena) func(*stranger) {
		return r.tagsOf(r.shardsOf(func() link { return r.shard(256, identity("x").named("00tag")) }))
	}},
	{finding: "1b", sent: "tags of shards that link 256 times to one empty shard, eight deep", prepare: func(r *arena) func(*stranger) {
		return r.tagsOf(r.shardsOf(func() link { return r.shard(256) }))
	}},
	{finding: "1c", sent: "tags of a plain directory of 100,000 names", large: true, prepare: func(r *arena) func(*stranger) {
		return r.tagsOf(r.wide(100_000, "%x"))
	}},
	{finding: "1d", sent: "an unknown tag of a plain directory of 100,000 names", large: true, prepare: func(r *arena) func(*stranger) {
		image := r.directory(r.wide(100_000, "%x").named("manifests"))
		return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/manifests/none") }
	}},
	{finding: "1e", sent: "tags of a plain directory of one name 100,000 times", prepare: func(r *arena) func(*stranger) {
		return r.tagsOf(r.directory(slices.Repeat([]link{identity("x").named("v1")}, 100_000)...))
	}},
	{finding: "1f", sent: "tags of 8 directories of 100,000 names each, in turns", large: true, prepare: func(r *arena) func(*stranger) {
		var images []func(*stranger)
		for i := range 8 {
			images = append(images, r.tagsOf(r.wide(100_000, fmt.Sprintf("%d-%%x", i))))
		}
		return func(s *stranger) { images[s.number%len(images)](s) }
	}},
	{finding: "1g", sent: "tags below 90 names, each in a directory of 1,000 others", large: true, prepare: func(r *arena) func(*stranger) {
		d := r.directory(r.wide(20_000, "%x").named("manifests"))
		name := strings.TrimSuffix(strings.Repeat("a/", 90), "/")
		for range 90 {
			d = r.directory(d.named("a"), r.wide(1000, "b%x").named("b"))
		}
		return func(s *stranger) { s.get("/v2/" + d.cid.String() + "/" + name + "/tags/list") }
	}},
	{finding: "1h", sent: "the catalog below a root of 16,000 directories, most of them one of 2 MiB", options: "catalog", large: true, prepare: func(r *arena) func(*stranger) {
		wide := r.wide(40_000, "N%d") // no names of images
		var entries []link
		for i := range 16_000 {
			entries = append(entries, wide.named(fmt.Sprintf("n%d", i)))
		}
		r.root = r.directory(entries...).cid.String()
		return func(s *stranger) { s.get("/v2/_catalog") }
	}},
}

// tagsOf is a client that lists the tags of an image with this directory of manifests.
func (r *arena) tagsOf(manifests link) func(*stranger) {
	image := r.directory(manifests.named("manifests"))
	return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/tags/list") }
}

// wide is a directory of n names.
func (r *arena) wide(n int, format string) link {
	entries := make([]link, n)
	for i := range entries {
		entries[i] = identity("x").named(fmt.Sprintf(format, i))
	}
	return r.directory(entries...)
}

// shardsOf is a sharded directory in which each node links to the one below from all
// slots.
func (r *arena) shardsOf(bottom func() link) link {
	below := bottom()
	for range 7 {
		links := make([]link, 256)
		for i := range links {
			links[i] = below.named(fmt.Sprintf("%02X", i))
		}
		below = r.shard(256, links...)
	}
	return below
}
