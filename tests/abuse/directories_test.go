package abuse

import "slices"

// directoryAttacks are directories that take far more to read than they are long.
var directoryAttacks = []attack{
	{finding: "1", sent: "tags/list of one shard, 15 times, of 149,000 links of one name", prepare: func(r *arena) func(*stranger) {
		inner := r.shard(256, slices.Repeat([]link{identity("x").named("00tag")}, 100_000)...)
		return r.tagsOf(r.shard(256, slices.Repeat([]link{inner.named("00")}, 15)...))
	}},
}

// tagsOf is a client that lists the tags of an image with this directory of manifests.
func (r *arena) tagsOf(manifests link) func(*stranger) {
	image := r.directory(manifests.named("manifests"))
	return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/tags/list") }
}
