package abuse

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// cacheAttacks fill the cache with blobs that no client wants, or make it hash the blobs
// that it has.
var cacheAttacks = []attack{
	{finding: "4", sent: "64 blobs of 32 MiB, whose clients stop reading", store: true, large: true, prepare: func(r *arena) func(*stranger) {
		r.gateway.rate = 64 << 20
		return r.blobsOf(crowd+1, 32, func(s *stranger, path string) { s.stall(path) })
	}},
	{finding: "4a", sent: "the same, from the second byte on", store: true, large: true, prepare: func(r *arena) func(*stranger) {
		r.gateway.rate = 64 << 20
		return r.blobsOf(crowd+1, 32, func(s *stranger, path string) { s.stall(path, "Range", "bytes=1-") })
	}},
	{finding: "6", sent: "a manifest with 64 layers of 10 MiB", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.prefetched(func(digests []string) string { return manifestOf(digests...) })
	}},
	{finding: "6a", sent: "HEAD of 64 manifests with a layer of 10 MiB each", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		blobs, digests := r.similar(64, 10)
		var manifests []link
		for i, d := range digests {
			manifests = append(manifests, r.small(manifestOf(d)).named(fmt.Sprintf("v%d", i)))
		}
		image := r.image(manifests, blobs)
		return func(s *stranger) {
			s.head(fmt.Sprintf("/v2/%s/manifests/v%d", image.cid, (s.number+s.asked*crowd)%len(manifests)))
			s.asked++
		}
	}},
	{finding: "6b", sent: "an index of 64 manifests that are layers of 10 MiB", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.prefetched(func(digests []string) string { return indexOf(digests...) })
	}},
	{finding: "6c", sent: "referrers in an index of 64 manifests that are layers of 10 MiB", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		blobs, digests := r.similar(64, 10)
		index := r.small(indexOf(digests...))
		image := r.directory(r.directory(index.named("v1")).named("manifests"), r.directory(blobs...).named("blobs"), r.directory(index.named(anyDigest(7))).named("referrers"))
		return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/referrers/" + anyDigest(7)) }
	}},
	{finding: "11", sent: "the first byte of a blob of 100 MiB", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) { s.get(path, "Range", "bytes=0-0") })
	}},
	{finding: "11", sent: "the same from a gateway that gives 1 MiB a second", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		r.gateway.rate = 1 << 20
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) { s.get(path, "Range", "bytes=0-0") })
	}},
	{finding: "11a", sent: "HEAD of a blob", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) { s.head(path) })
	}},
	{finding: "11b", sent: "a blob that the client says it has", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) {
			s.get(path, "If-None-Match", fmt.Sprintf("%q", path[len(path)-71:]))
		})
	}},
	{finding: "11c", sent: "the last byte of a blob", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) { s.get(path, "Range", "bytes=-1") })
	}},
	{finding: "11d", sent: "three ranges of one byte, all over a blob", store: true, keeps: true, prepare: func(r *arena) func(*stranger) {
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) {
			s.get(path, "Range", "bytes=0-0,20000000-20000000,45000000-45000000")
		})
	}},
	{finding: "11e", sent: "a blob, left after 1 kB", store: true, keeps: true, large: true, prepare: func(r *arena) func(*stranger) {
		return r.blobsOf(crowd+1, 48, func(s *stranger, path string) { s.take(1000, path) })
	}},
	{finding: "12", sent: "a blob of 1,000 MiB of one leaf, left after 1 kB", store: true, keeps: true, large: true, prepare: func(r *arena) func(*stranger) {
		return r.selfSimilar(r.tall(r.raw(noise(1, 1<<20)), 1000, 1))
	}},
	{finding: "12a", sent: "a blob of 960 MiB of one group of 60 leaves, left after 1 kB", store: true, keeps: true, large: true, prepare: func(r *arena) func(*stranger) {
		var group []link
		for i := range 60 {
			group = append(group, r.raw(noise(i+10, 1<<20)))
		}
		return r.selfSimilar(r.tall(r.file(group...), 16, 1))
	}},
	{finding: "12b", sent: "64 blobs of 60 MiB of one leaf, all of that leaf, left after 1 kB", store: true, keeps: true, large: true, prepare: func(r *arena) func(*stranger) {
		same := r.raw(noise(1, 1<<20))
		var blobs []link
		for i := range crowd + 1 {
			parts := append(slices.Repeat([]link{same}, 59), r.raw(noise(i+10, 1<<20)))
			blobs = append(blobs, r.file(parts...).named(anyDigest(i)))
		}
		image := r.image(nil, blobs)
		return func(s *stranger) { s.take(1000, "/v2/"+image.cid.String()+"/blobs/"+anyDigest(s.number)) }
	}},
	{finding: "13", sent: "HEAD of a blob of 64 MiB by sha512, which is in the cache", store: true, prepare: func(r *arena) func(*stranger) {
		return r.bySHA512(func(s *stranger, path string) { s.head(path) })
	}},
	{finding: "13a", sent: "its first byte", store: true, prepare: func(r *arena) func(*stranger) {
		return r.bySHA512(func(s *stranger, path string) { s.get(path, "Range", "bytes=0-0") })
	}},
	{finding: "13b", sent: "the blob, left after 1 kB", store: true, large: true, prepare: func(r *arena) func(*stranger) {
		return r.bySHA512(func(s *stranger, path string) { s.take(1000, path) })
	}},
}

// similar makes n blobs of so many MiB, each of one leaf of its own, and their digests.
func (r *arena) similar(n, mib int) (blobs []link, digests []string) {
	for i := range n {
		digests = append(digests, digestOfSimilar(i, mib))
		blobs = append(blobs, r.tall(r.raw(noise(1000+i, 1<<20)), mib, 1).named(digests[i]))
	}
	return blobs, digests
}

func digestOfSimilar(i, mib int) string {
	key := [2]int{i, mib}
	if known, ok := similarDigests.Load(key); ok {
		return known.(string)
	}
	content, hash := noise(1000+i, 1<<20), sha256.New()
	for range mib {
		hash.Write(content)
	}
	d := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	similarDigests.Store(key, d)
	return d
}

// similarDigests are the digests so far, since hashing takes long.
var similarDigests sync.Map

// blobsOf has each client ask for a blob of its own.
func (r *arena) blobsOf(n, mib int, ask func(s *stranger, path string)) func(*stranger) {
	blobs, digests := r.similar(n, mib)
	image := r.image(nil, blobs)
	return func(s *stranger) { ask(s, fmt.Sprintf("/v2/%s/blobs/%s", image.cid, digests[s.number%n])) }
}

// prefetched is a client that asks for a manifest of 64 blobs of 10 MiB.
func (r *arena) prefetched(manifest func(digests []string) string) func(*stranger) {
	blobs, digests := r.similar(64, 10)
	content := manifest(digests)
	image := r.image([]link{r.small(content).named("v1"), r.small(content).named(digest([]byte(content)))}, blobs)
	return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/manifests/v1") }
}

func indexOf(digests ...string) string {
	list := ""
	for i, d := range digests {
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":%q}`, d)
	}
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + list + `]}`
}

func (r *arena) selfSimilar(f link) func(*stranger) {
	image := r.image(nil, []link{f.named(anyDigest(1))})
	return func(s *stranger) { s.take(1000, "/v2/"+image.cid.String()+"/blobs/"+anyDigest(1)) }
}

// bySHA512 has clients ask for a blob by sha512 that the cache has by sha256.
func (r *arena) bySHA512(ask func(s *stranger, path string)) func(*stranger) {
	const mib = 64
	blobs, digests := r.similar(1, mib)
	content := noise(1000, 1<<20)
	hash := sha512.New()
	for range mib {
		hash.Write(content)
	}
	other := fmt.Sprintf("sha512:%x", hash.Sum(nil))
	image := r.image(nil, []link{blobs[0], blobs[0].named(other)})
	r.first = func(s *stranger) { s.ask(http.MethodGet, "/v2/"+image.cid.String()+"/blobs/"+digests[0], drain) }
	return func(s *stranger) { ask(s, "/v2/"+image.cid.String()+"/blobs/"+other) }
}
