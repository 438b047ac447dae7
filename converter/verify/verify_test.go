package verify

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/testimage"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/teststore"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A directory has the files of an image's directory, by path.
type directory map[string][]byte

// put adds a blob of the image called app and returns its descriptor.
func (d directory) put(mediaType string, data []byte) v1.Descriptor {
	is := testimage.Describe(mediaType, data)
	d[layout.BlobPath("app", is.Digest)] = data
	return is
}

// tag adds a manifest by its digest, and by the tags.
func (d directory) tag(m any, tags ...string) v1.Descriptor {
	data := testimage.Marshal(m)
	is := testimage.Describe(v1.MediaTypeImageManifest, data)
	for _, name := range append(tags, is.Digest.String()) {
		d[layout.ManifestPath("app", name)] = data
	}
	return is
}

// image adds an image of one gzip layer, changed as spoil says.
func (d directory) image(spoil func(m *v1.Manifest, config *v1.Image)) v1.Descriptor {
	tar := testimage.Layer("etc/conf", 5000)
	var config v1.Image
	config.RootFS.DiffIDs = []digest.Digest{digest.FromBytes(tar)}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{d.put(v1.MediaTypeImageLayerGzip, testimage.Gzipped(tar))}}
	m.SchemaVersion = 2
	spoil(&m, &config)
	if m.Config.Digest == "" {
		m.Config = d.put(v1.MediaTypeImageConfig, testimage.Marshal(config))
	}
	return d.tag(m, "v1")
}

// verify returns the faults and the lines of the log.
func verify(t *testing.T, from origin.Origin, root cid.Cid, s origin.Selection) (verified *Verified, faults, said []string) {
	t.Helper()
	v := New(from,
		func(f Fault) { faults = append(faults, f.Error()) },
		func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	verified, err := v.Verify(t.Context(), root, s)
	if err != nil {
		t.Fatal(err)
	}
	if (verified == nil) != (len(faults) > 0) || v.Faults() != len(faults) {
		t.Fatalf("verified %v, with %d faults %q", verified, v.Faults(), faults)
	}
	return verified, faults, said
}

// An image may be wrong although each of its blocks matches its CID.
func TestVerifyFinds(t *testing.T) {
	keep := func(*v1.Manifest, *v1.Image) {}
	elsewhere := testimage.Describe(v1.MediaTypeImageManifest, []byte("elsewhere"))
	for name, test := range map[string]struct {
		make func(d directory)
		want []string // in one line each
	}{
		"nothing": {func(d directory) { d.image(keep) }, nil},
		"a manifest under another's digest": {
			func(d directory) {
				d.image(keep)
				d[layout.ManifestPath("app", elsewhere.Digest.String())] = d[layout.ManifestPath("app", "v1")]
			},
			[]string{"app/manifests/" + elsewhere.Digest.String() + " (bafk|does not match its digest"},
		},
		"a tag whose manifest is not there by digest": {
			func(d directory) {
				is := d.image(keep)
				d[layout.ManifestPath("app", "v2")] = append(d[layout.ManifestPath("app", is.Digest.String())], '\n')
			},
			[]string{"app/manifests/v2 (bafk|not there by its digest"},
		},
		"no manifest": {
			func(d directory) {
				d.image(keep)
				d[layout.ManifestPath("app", "v2")] = []byte(`{"schemaVersion": 1}`)
			},
			[]string{"app/manifests/v2 (bafk|not an image manifest"},
		},
		"a layer of another size": {
			func(d directory) { d.image(func(m *v1.Manifest, _ *v1.Image) { m.Layers[0].Size++ }) },
			[]string{"app/blobs/sha256:|bytes, and manifest sha256:"},
		},
		"a layer that is missing": {
			func(d directory) {
				d.image(func(m *v1.Manifest, _ *v1.Image) { delete(d, layout.BlobPath("app", m.Layers[0].Digest)) })
			},
			[]string{"app/blobs/sha256:|it is missing"},
		},
		"a layer that may be missing": {
			func(d directory) {
				d.image(func(m *v1.Manifest, _ *v1.Image) {
					delete(d, layout.BlobPath("app", m.Layers[0].Digest))
					m.Layers[0].MediaType = layout.DockerForeignLayer + ".gzip"
				})
			}, nil,
		},
		"a layer under another's digest": {
			func(d directory) {
				d.image(func(m *v1.Manifest, _ *v1.Image) {
					d[layout.BlobPath("app", m.Layers[0].Digest)][20] ^= 1
				})
			},
			[]string{"app/blobs/sha256:|does not match its digest", "app/blobs/sha256:|does not decompress"},
		},
		"a layer that does not decompress": {
			func(d directory) {
				d.image(func(m *v1.Manifest, _ *v1.Image) {
					m.Layers[0] = d.put(v1.MediaTypeImageLayerGzip, testimage.Gzipped(testimage.Layer("etc/conf", 5000))[:100])
				})
			},
			[]string{"app/blobs/sha256:|does not decompress"},
		},
		"another diff_id": {
			func(d directory) {
				d.image(func(_ *v1.Manifest, c *v1.Image) { c.RootFS.DiffIDs[0] = elsewhere.Digest })
			},
			[]string{"app/blobs/sha256:|uncompressed, and config sha256:"},
		},
		"more layers than diff_ids": {
			func(d directory) {
				d.image(func(m *v1.Manifest, _ *v1.Image) { m.Layers = append(m.Layers, m.Layers[0]) })
			},
			[]string{"app/blobs/sha256:|1 layers, and manifest sha256:"},
		},
		"more diff_ids than layers": {
			func(d directory) {
				d.image(func(_ *v1.Manifest, c *v1.Image) { c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, elsewhere.Digest) })
			},
			[]string{"app/blobs/sha256:|2 layers, and manifest sha256:"},
		},
		"an artifact, whose config has no diff_ids": {
			func(d directory) { d.image(func(_ *v1.Manifest, c *v1.Image) { c.RootFS.DiffIDs = nil }) }, nil,
		},
		"an index of blobs": {
			func(d directory) {
				blob := d.put(v1.MediaTypeImageLayerGzip, testimage.Gzipped([]byte("cached")))
				d.tag(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{blob}}, "cache")
			}, nil,
		},
		"a damaged blob in an index of blobs": {
			func(d directory) {
				blob := d.put(v1.MediaTypeImageLayerGzip, testimage.Gzipped([]byte("cached")))
				d[layout.BlobPath("app", blob.Digest)][20] ^= 1
				d.tag(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{blob}}, "cache")
			},
			[]string{"app/blobs/sha256:|does not match its digest"},
		},
		"a config that is none": {
			func(d directory) {
				d.image(func(m *v1.Manifest, _ *v1.Image) { m.Config = d.put(v1.MediaTypeImageConfig, []byte("[]")) })
			},
			[]string{"app/blobs/sha256:|it is not the config of an image"},
		},
		"a blob that is called what no blob is": {
			func(d directory) {
				d.image(keep)
				d["app/blobs/layer.tar"] = []byte("x")
			},
			[]string{"app/blobs/layer.tar (bafk|the name of this blob is not a digest"},
		},
		"an index of which all is missing": {
			func(d directory) {
				d.image(keep)
				d.tag(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{elsewhere}}, "all")
			},
			[]string{"app/manifests/all (bafk|nothing that it lists is there"},
		},
		"an index that gives another size": {
			func(d directory) {
				is := d.image(keep)
				is.Size--
				d.tag(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{is}}, "all")
			},
			[]string{"bytes, and index sha256:"},
		},
		"a referrer that is missing": {
			func(d directory) {
				is := d.image(keep)
				d[layout.ReferrersPath("app", is.Digest)] = testimage.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{elsewhere}})
			},
			[]string{"app/manifests/" + elsewhere.Digest.String() + "|it is missing: app/referrers/"},
		},
		"a referrer about something else": {
			func(d directory) {
				is := d.image(keep)
				d[layout.ReferrersPath("app", elsewhere.Digest)] = testimage.Marshal(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{is}})
			},
			[]string{"app/referrers/sha256:|has another subject"},
		},
		"several things": {
			func(d directory) {
				d.image(func(m *v1.Manifest, c *v1.Image) {
					m.Layers[0].Size++
					c.RootFS.DiffIDs[0] = elsewhere.Digest
				})
				d["app/blobs/layer.tar"] = []byte("x")
			},
			[]string{"bytes, and manifest sha256:", "uncompressed, and config sha256:", "the name of this blob is not a digest"},
		},
		"no image": {func(d directory) { d["README"] = []byte("hello") }, []string{"there is no image"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := directory{}
			test.make(d)
			from, root := teststore.Of(t, d)
			_, faults, _ := verify(t, from, root, origin.Selection{})
			if len(faults) != len(test.want) {
				t.Errorf("%d faults, want %d:\n%s", len(faults), len(test.want), strings.Join(faults, "\n"))
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(faults, func(f string) bool {
					first, rest, _ := strings.Cut(want, "|")
					_, after, found := strings.Cut(f, first)
					return found && strings.Contains(after, rest)
				}) {
					t.Errorf("no line with %q:\n%s", want, strings.Join(faults, "\n"))
				}
			}
		})
	}
}

// A manifest that an index lists and the root lacks is logged. It is not a fault.
func TestVerifyPartialIndex(t *testing.T) {
	d := directory{}
	is := d.image(func(*v1.Manifest, *v1.Image) {})
	missing := testimage.Describe(v1.MediaTypeImageManifest, []byte("elsewhere"))
	missing.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"}
	d.tag(v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{is, missing}}, "all")
	from, root := teststore.Of(t, d)
	verified, faults, said := verify(t, from, root, origin.Selection{})
	if len(faults) > 0 || len(said) != 1 || !strings.Contains(said[0], "linux/arm64") {
		t.Errorf("faults %q, said %q", faults, said)
	}
	if len(verified.Images) != 2 {
		t.Errorf("verified are %v", verified.Images)
	}
}

// A selected image is right even if another one below its root is not.
func TestVerifySelection(t *testing.T) {
	d := directory{}
	is := d.image(func(*v1.Manifest, *v1.Image) {})
	d[layout.ManifestPath("app", "broken")] = []byte("{}")
	d["app/more/manifests/v1"] = []byte("{}")
	from, root := teststore.Of(t, d)
	for _, test := range []struct {
		origin.Selection
		right bool
	}{
		{origin.Selection{}, false},
		{origin.Selection{Name: "app"}, false},
		{origin.Selection{Name: "app", Reference: "v1"}, true},
		{origin.Selection{Name: "app", Reference: is.Digest.String()}, true},
		{origin.Selection{Name: "app", Reference: "broken"}, false},
		{origin.Selection{Name: "app", Reference: "v2"}, false},
		{origin.Selection{Name: "app/more", Reference: "v1"}, false},
		{origin.Selection{Name: "other"}, false},
	} {
		verified, faults, _ := verify(t, from, root, test.Selection)
		if (len(faults) == 0) != test.right {
			t.Errorf("%v: %q", test.Selection, faults)
		}
		if test.right && (len(verified.Images) != 1 || verified.Images[0].Digest != is.Digest || verified.Sizes[0].Blocks != 7) {
			t.Errorf("%v: verified are %v", test.Selection, verified)
		}
	}
}

// The number of reported faults is bounded. So is the memory for a layer that
// decompresses to very many bytes.
func TestVerifyIsBounded(t *testing.T) {
	d := directory{}
	d.image(func(m *v1.Manifest, c *v1.Image) {
		var bomb bytes.Buffer
		z := gzip.NewWriter(&bomb)
		sum := digest.SHA256.Digester()
		if _, err := io.Copy(io.MultiWriter(z, sum.Hash()), io.LimitReader(zeros{}, 64<<20)); err != nil {
			t.Fatal(err)
		}
		z.Close()
		m.Layers[0] = d.put(v1.MediaTypeImageLayerGzip, bomb.Bytes())
		c.RootFS.DiffIDs[0] = sum.Digest()
	})
	from, root := teststore.Of(t, d)
	if _, faults, _ := verify(t, from, root, origin.Selection{Name: "app", Reference: "v1"}); len(faults) > 0 {
		t.Errorf("the bomb: %q", faults)
	}
	for n := range 3 * maxFaults {
		d[fmt.Sprintf("app/blobs/%d", n)] = []byte("x")
	}
	from, root = teststore.Of(t, d)
	faults := 0
	v := New(from, func(Fault) { faults++ }, t.Logf)
	if verified, err := v.Verify(t.Context(), root, origin.Selection{}); err != ErrFaults || verified != nil || faults != maxFaults {
		t.Errorf("%d faults, then %v", faults, err)
	}
}

// All manifests and configs of a root are in memory together, so their bytes are bounded.
func TestManifestsAndConfigsAreBoundedTogether(t *testing.T) {
	d := directory{}
	m := d.image(func(*v1.Manifest, *v1.Image) {})
	from, root := teststore.Of(t, d)
	parsed, err := layout.ParseManifest(d[layout.ManifestPath("app", m.Digest.String())])
	if err != nil {
		t.Fatal(err)
	}
	n, err := manifest.Parse(parsed)
	if err != nil {
		t.Fatal(err)
	}
	inMemory := int64(n.Memory())
	for _, test := range []struct {
		room int64
		want string // what exceeds the bound
	}{
		{m.Size - 1, "app/manifests/"},
		{inMemory, "app/blobs/"},
		{inMemory + 1<<11, ""},
	} {
		var faults []Fault
		check := newRootCheck(from, root, origin.Selection{}, func(f Fault) { faults = append(faults, f) })
		check.memory = manifest.MaxMemory - int(test.room)
		check.list(t.Context())
		check.follow(t.Context())
		newBlobReader(from).read(t.Context(), check)
		switch {
		case test.want == "" && len(faults) > 0:
			t.Errorf("room for %d bytes: %v", test.room, faults)
		case test.want != "" && (len(faults) == 0 || !strings.HasPrefix(faults[0].Path, test.want) || !strings.Contains(faults[0].Error(), "more than 134217728 bytes")):
			t.Errorf("room for %d bytes: the faults are %v, want one at %s", test.room, faults, test.want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
