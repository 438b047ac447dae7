package abuse

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// Files with empty leaves are right files: they are served the first time, through a
// cache too, and the second time.
func TestFilesWithEmptyLeavesAreServed(t *testing.T) {
	harness.Parallel(t)
	a, b := noise(1, 100_000), noise(2, 100_000)
	for _, shape := range []struct {
		name string
		file func(d dag) link
	}{
		{"an empty last leaf", func(d dag) link { return d.file(d.raw(a), d.raw(b), d.raw(nil)) }},
		{"an empty first leaf", func(d dag) link { return d.file(d.raw(nil), d.raw(a), d.raw(b)) }},
		{"an empty leaf in the middle", func(d dag) link { return d.file(d.raw(a), d.raw(nil), d.raw(b)) }},
		{"three empty leaves at the end", func(d dag) link { return d.file(d.raw(a), d.raw(b), d.raw(nil), d.raw(nil), d.raw(nil)) }},
		{"an empty node at the end", func(d dag) link { return d.file(d.raw(a), d.raw(b), d.file(d.raw(nil))) }},
		{"a last node that ends in an empty leaf", func(d dag) link { return d.file(d.raw(a), d.file(d.raw(b), d.raw(nil))) }},
	} {
		for _, store := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cache: %v", shape.name, store), func(t *testing.T) {
				d := dag{}
				content := string(a) + string(b)
				sum := digest([]byte(content))
				root := d.image(nil, []link{shape.file(d).named(sum)})
				site := newSite(t, store, "", newGateway(t, d).URL)
				for i := range 3 {
					resp := harness.Get(t, site.URL+"/v2/"+root.cid.String()+"/blobs/"+sum)
					if resp.StatusCode != http.StatusOK || resp.Text != content {
						t.Errorf("request %d: %d, %d bytes: %.200s", i, resp.StatusCode, len(resp.Text), resp.Text)
					}
				}
			})
		}
	}
}
