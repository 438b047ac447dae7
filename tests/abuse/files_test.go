package abuse

import (
	"fmt"
	"slices"
	"strings"
)

// fileAttacks are manifests that take far more to read than they are long.
var fileAttacks = []attack{
	{finding: "2", sent: "a manifest of 4 MiB of one 1-byte leaf", prepare: tiny},
	{finding: "2", sent: "the same with a cache", store: true, prepare: tiny},
	{finding: "2a", sent: "a manifest of a million empty leaves", prepare: func(r *arena) func(*stranger) {
		return r.manifest(r.file(append(slices.Repeat([]link{r.tall(r.raw(nil), 1000, 2)}, 1), r.raw([]byte("{}")))...))
	}},
	{finding: "2b", sent: "a manifest below a chain of 1,000 nodes of one link", prepare: func(r *arena) func(*stranger) {
		return r.manifest(r.tall(r.raw([]byte("{}")), 1, 1000))
	}},
	{finding: "2c", sent: "a manifest of 4 MiB of 64-byte leaves that are in their CIDs", large: true, prepare: leavesInside},
	{finding: "2c", sent: "the same with a cache", store: true, large: true, prepare: leavesInside},
	{finding: "2d", sent: "an index of 4 MiB of descriptors without anything", large: true, prepare: func(r *arena) func(*stranger) {
		return r.manifest(r.text(`{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", 1_380_000) + `{}]}`))
	}},
	{finding: "2e", sent: "an OCI layout with an index of 4 MiB of descriptors without anything", large: true, prepare: func(r *arena) func(*stranger) {
		index := r.text(`{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", 1_380_000) + `{}]}`)
		image := r.directory(index.named("index.json"), r.small("{}").named("oci-layout"))
		return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/tags/list") }
	}},
	{finding: "2f", sent: "64 manifests of 4 MiB, one for each client", large: true, prepare: func(r *arena) func(*stranger) {
		var manifests []link
		for i := range crowd + 1 {
			manifests = append(manifests, r.text(manifestOf(anyDigest(i))+strings.Repeat(" ", 4<<20-1000)).named(fmt.Sprintf("v%d", i)))
		}
		image := r.image(manifests, nil)
		return func(s *stranger) { s.get(fmt.Sprintf("/v2/%s/manifests/v%d", image.cid, s.number)) }
	}},
	{finding: "2g", sent: "4 MiB of brackets for a manifest", large: true, prepare: func(r *arena) func(*stranger) {
		return r.manifest(r.text(`{"a":` + strings.Repeat("[", 4<<20-10)))
	}},
	{finding: "2h", sent: "HEAD of a file of 64-byte leaves in nodes of 2 MiB, 64 MiB of them", large: true, prepare: func(r *arena) func(*stranger) {
		var nodes []link
		for i := range 30 {
			nodes = append(nodes, r.file(slices.Repeat([]link{identity(fmt.Sprintf("%064d", i))}, 18_000)...))
		}
		f := r.file(nodes...)
		image := r.image(nil, []link{f.named(anyDigest(1))})
		return func(s *stranger) { s.head("/v2/" + image.cid.String() + "/blobs/" + anyDigest(1)) }
	}},
	{finding: "30", sent: "a blob of 256 KiB of one 1-byte leaf", prepare: func(r *arena) func(*stranger) {
		return r.blobOf(r.tall(r.raw([]byte("x")), 512, 2))
	}},
	{finding: "30", sent: "the same with a cache", store: true, prepare: func(r *arena) func(*stranger) {
		return r.blobOf(r.tall(r.raw([]byte("x")), 512, 2))
	}},
	{finding: "30a", sent: "a blob of 16 MiB of one 64-byte leaf", large: true, prepare: func(r *arena) func(*stranger) {
		return r.blobOf(r.tall(r.raw(noise(1, 64)), 512, 2))
	}},
	{finding: "30a", sent: "the same with a cache, from a gateway that gives 256 KiB a second", store: true, large: true, prepare: func(r *arena) func(*stranger) {
		r.gateway.rate = 256 << 10
		return r.blobOf(r.tall(r.raw(noise(1, 64)), 512, 2))
	}},
}

func tiny(r *arena) func(*stranger) {
	return r.manifest(r.tall(r.raw([]byte(" ")), 2048, 2))
}

func leavesInside(r *arena) func(*stranger) {
	var nodes []link
	for i := range 8 {
		var leaves []link
		for j := range 8192 {
			leaves = append(leaves, identity(fmt.Sprintf("%063d,", i*8192+j)))
		}
		nodes = append(nodes, r.file(leaves...))
	}
	return r.manifest(r.file(nodes...))
}

// text adds a file in leaves of 1 MiB.
func (r *arena) text(content string) link {
	var leaves []link
	for part := range slices.Chunk([]byte(content), 1<<20) {
		leaves = append(leaves, r.raw(part))
	}
	return r.file(leaves...)
}

// manifest is a client that asks for a file as a manifest.
func (r *arena) manifest(f link) func(*stranger) {
	image := r.image([]link{f.named("v1")}, nil)
	return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/manifests/v1") }
}

// blobOf is a client that reads a file as a blob of a digest that it does not have.
func (r *arena) blobOf(f link) func(*stranger) {
	image := r.image(nil, []link{f.named(anyDigest(1))})
	return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/blobs/" + anyDigest(1)) }
}
