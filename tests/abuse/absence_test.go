package abuse

import (
	"fmt"
	"strings"
)

// absenceAttacks ask for what there is not, which must not be looked for again and
// again.
var absenceAttacks = []attack{
	{finding: "14", sent: "a digest that is none of 16 manifests of 3.9 MiB", large: true, remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) { s.get("/v2/" + root + "/manifests/" + anyDigest(5)) })
	}},
	{finding: "14", sent: "the same with a cache", store: true, large: true, remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) { s.get("/v2/" + root + "/manifests/" + anyDigest(5)) })
	}},
	{finding: "14a", sent: "another such digest each time", large: true, remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) {
			s.asked++
			s.get("/v2/" + root + "/manifests/" + anyDigest(s.number*1_000_000+s.asked))
		})
	}},
	{finding: "14b", sent: "an unknown tag, another each time", remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) {
			s.asked++
			s.get(fmt.Sprintf("/v2/%s/manifests/none-%d-%d", root, s.number, s.asked))
		})
	}},
	{finding: "14c", sent: "referrers of an unknown digest, another each time", remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) {
			s.asked++
			s.get("/v2/" + root + "/referrers/" + anyDigest(s.number*1_000_000+s.asked))
		})
	}},
	{finding: "14d", sent: "an unknown name, another each time", remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) {
			s.asked++
			s.get(fmt.Sprintf("/v2/%s/n%d/n%d/manifests/latest", root, s.number, s.asked))
		})
	}},
	{finding: "14e", sent: "an unknown blob, another each time", remembered: true, prepare: func(r *arena) func(*stranger) {
		return r.among16(func(s *stranger, root string) {
			s.asked++
			s.get("/v2/" + root + "/blobs/" + anyDigest(s.number*1_000_000+s.asked))
		})
	}},
	{finding: "14f", sent: "referrers in an index of 4 MiB", large: true, remembered: true, prepare: func(r *arena) func(*stranger) {
		one := fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":%q},`, anyDigest(1))
		index := r.text(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Repeat(one, 4_000_000/len(one)) + strings.TrimSuffix(one, ",") + `]}`)
		image := r.directory(r.directory(r.small(manifestOf()).named("v1")).named("manifests"), r.directory(index.named(anyDigest(7))).named("referrers"))
		return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/referrers/" + anyDigest(7)) }
	}},
	{finding: "14g", sent: "a blob that no descriptor of a file of linked manifests leads to", large: true, remembered: true, prepare: func(r *arena) func(*stranger) {
		var links []string
		for i := range 128 {
			m := manifestOf(anyDigest(i))
			m = m[:len(m)-1] + fmt.Sprintf(`,"annotations":{"a":%q}}`, strings.Repeat("x", 400_000))
			f := r.text(m)
			links = append(links, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%d,"digest":%q,"urls":["ipfs://%s"]}`, len(m), digest([]byte(m)), f.cid))
		}
		top := r.text(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(links, ",") + `]}`)
		return func(s *stranger) {
			s.asked++
			s.get("/v2/" + top.cid.String() + "/blobs/" + anyDigest(s.number*1_000_000+s.asked))
		}
	}},
}

// among16 has clients ask something of an image with 16 large manifests that are named
// by tags only.
func (r *arena) among16(ask func(s *stranger, root string)) func(*stranger) {
	var manifests []link
	for i := range 16 {
		manifests = append(manifests, r.text(manifestOf(anyDigest(i))+strings.Repeat(" ", 3_900_000)).named(fmt.Sprintf("v%d", i)))
	}
	image := r.image(manifests, nil)
	return func(s *stranger) { ask(s, image.cid.String()) }
}
