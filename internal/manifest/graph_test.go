package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// documents are what a graph is read from, by digest.
type documents map[digest.Digest][]byte

func (docs documents) add(mediaType string, value any) v1.Descriptor {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	docs[d.Digest] = data
	return d
}

func (docs documents) image(name string) v1.Descriptor {
	config := v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromString(name), Size: 1}
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: config, Layers: []v1.Descriptor{}}
	return docs.add(v1.MediaTypeImageManifest, m)
}

func (docs documents) index(below ...v1.Descriptor) v1.Descriptor {
	return docs.add(v1.MediaTypeImageIndex, v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: below})
}

func (docs documents) read(d v1.Descriptor) ([]byte, error) {
	if data, ok := docs[d.Digest]; ok {
		return data, nil
	}
	return nil, &MissingError{d.Digest.String(), "the test"}
}

func TestWalkVisitsEachManifestOnceAndIndexesLast(t *testing.T) {
	docs := documents{}
	a, b := docs.image("a"), docs.image("b")
	inner := docs.index(b, a)
	top := docs.index(a, inner, a, b)
	var visited []digest.Digest
	err := NewGraph(docs.read).Walk(top, func(s Step) error {
		visited = append(visited, s.Digest)
		if s.Digest == top.Digest && len(s.Below) != 3 {
			t.Errorf("below the top are %d, each once, and not 3", len(s.Below))
		}
		return nil
	})
	want := []digest.Digest{a.Digest, b.Digest, inner.Digest, top.Digest}
	if err != nil || fmt.Sprint(visited) != fmt.Sprint(want) {
		t.Errorf("visited %v, want %v: %v", visited, want, err)
	}
}

// The visit of an index learns which of its manifests are missing, or miss a part.
func TestWalkTellsAnIndexWhatIsMissing(t *testing.T) {
	docs := documents{}
	there, partless, absent := docs.image("there"), docs.image("partless"), docs.image("absent")
	delete(docs, absent.Digest)
	blob := v1.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromString("blob"), Size: 4}
	top := docs.index(there, partless, absent, blob)
	err := NewGraph(docs.read).Walk(top, func(s Step) error {
		switch s.Digest {
		case partless.Digest:
			return &MissingError{"a layer", "the test"}
		case top.Digest:
			var missing []bool
			for _, b := range s.Below {
				missing = append(missing, b.Missing != nil)
			}
			if fmt.Sprint(missing) != "[false true true false]" {
				t.Errorf("missing: %v", missing)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := NewGraph(docs.read).Walk(absent, nil); !IsMissing(err) {
		t.Errorf("a walk from a missing manifest ends with %v", err)
	}
}

func TestWalkEndsAtFaults(t *testing.T) {
	docs := documents{}
	fault := errors.New("a fault")
	top := docs.index(docs.image("a"))
	if err := NewGraph(docs.read).Walk(top, func(Step) error { return fault }); !errors.Is(err, fault) {
		t.Error(err)
	}
	deep := docs.image("deep")
	for range MaxNesting + 1 {
		deep = docs.index(deep)
	}
	visit := func(Step) error { return nil }
	if err := NewGraph(docs.read).Walk(deep, visit); !errors.Is(err, ErrNesting) {
		t.Error(err)
	}
	a, b := docs.image("a"), docs.image("b")
	docs[a.Digest] = docs[b.Digest]
	if err := NewGraph(docs.read).Walk(docs.index(a), visit); err == nil || !strings.Contains(err.Error(), "has the digest") {
		t.Errorf("a manifest with another digest: %v", err)
	}
	b.Size++
	if err := NewGraph(docs.read).Walk(docs.index(b), visit); err == nil || !strings.Contains(err.Error(), "its descriptor says") {
		t.Errorf("a manifest of another size: %v", err)
	}
}

// Short indexes of indexes can name one image any number of times.
func TestWalksAreBounded(t *testing.T) {
	docs := documents{}
	image := docs.image("a")
	many := make([]v1.Descriptor, 30_000)
	for i := range many {
		many[i] = image
	}
	g, visit := NewGraph(docs.read), func(Step) error { return nil }
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = g.Walk(docs.index(many[i:]...), visit)
	}
	if err == nil {
		t.Error("three million entries were followed")
	}
}

func TestParse(t *testing.T) {
	good := `{"mediaType":"m","digest":"` + digest.FromString("a").String() + `","size":1}`
	for data, want := range map[string]string{
		`{"schemaVersion":2,"layers":[],"config":` + good + `}`:                                   "",
		`{"schemaVersion":2,"layers":[` + good + `],"config":` + good + `}`:                       "",
		`{"schemaVersion":2,"layers":[{}],"config":` + good + `}`:                                 "invalid checksum digest format",
		`{"schemaVersion":2,"layers":[null],"config":` + good + `}`:                               "invalid checksum digest format",
		`{"schemaVersion":2,"layers":{},"config":` + good + `}`:                                   "where a list of descriptors belongs",
		`{"schemaVersion":2,"layers":[],"config":{}}`:                                             "its config",
		`{"schemaVersion":2,"layers":[],"config":null}`:                                           "it names no config",
		`{"schemaVersion":2,"manifests":[` + good + `]}`:                                          "",
		`{"schemaVersion":2,"manifests":[` + good + `],"subject":{"digest":"x"}}`:                 "its subject",
		`{"mediaType":"` + layout.OCIArtifact + `","blobs":[` + good + `]}`:                       "",
		`{"mediaType":"` + layout.DockerManifest + `","layers":[` + good + `]}`:                   "it names no config",
		`{"mediaType":"` + layout.DockerManifestList + `","layers":[{}],"manifests":[{"a":"b"}]}`: "invalid checksum digest format",
	} {
		m, err := layout.ParseManifest([]byte(data))
		if err != nil {
			t.Errorf("%s: %v", data, err)
			continue
		}
		if _, err := Parse(m); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
}

// The config decides whether a manifest is an image's, and no media type does.
func TestWhatIsAnImage(t *testing.T) {
	id := digest.FromString("layer").String()
	image := `{"os":"linux","rootfs":{"diff_ids":["` + id + `"]}}`
	layer := []v1.Descriptor{{MediaType: "application/octet-stream"}}
	for _, test := range []struct {
		mediaType, config string
		layers            []v1.Descriptor
		isImage, fails    bool
	}{
		{v1.MediaTypeImageConfig, image, layer, true, false},
		{"application/octet-stream", image, layer, true, false},
		{v1.MediaTypeImageConfig, `{}`, layer, false, false},
		{v1.MediaTypeImageConfig, `{"architecture":"","os":""}`, layer, false, false},
		{v1.MediaTypeImageConfig, `{"rootfs":{"type":"layers"}}`, nil, true, false},
		{v1.MediaTypeImageConfig, `{"rootfs":{"type":"layers"}}`, layer, false, false},
		{v1.MediaTypeImageConfig, `{"rootfs":{"type":"layers","diff_ids":[]}}`, nil, true, false},
		{v1.MediaTypeImageConfig, `{"rootfs":{"type":"layers","diff_ids":[]}}`, layer, false, false},
		{v1.MediaTypeImageConfig, `{"rootfs":{"diff_ids":["x"]}}`, layer, false, true},
		{v1.MediaTypeImageConfig, `no JSON`, layer, false, true},
		{"application/octet-stream", `no JSON`, layer, false, false},
		{v1.MediaTypeEmptyJSON, `{}`, layer, false, false},
	} {
		n := &Node{Config: &v1.Descriptor{MediaType: test.mediaType}, Layers: test.layers}
		c, err := n.ParseConfig([]byte(test.config))
		if (c != nil) != test.isImage || (err != nil) != test.fails {
			t.Errorf("%s of type %s: %v, %v", test.config, test.mediaType, c, err)
		}
	}
}
