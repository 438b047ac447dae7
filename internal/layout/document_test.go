package layout

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Descriptors without a valid digest are skipped.
func TestParseDocument(t *testing.T) {
	a, b := desc(DockerLayerGzip, "a"), desc(DockerLayerGzip, "b")
	for data, want := range map[string][]v1.Descriptor{
		`{}`:              nil,
		`{"layers":null}`: nil,
		`{"layers":[]}`:   nil,
		`{"layers":[{},` + toJSON(a) + `,{"digest":"sha256:x"}, null, ` + toJSON(b) + `]}`: {a, b},
		`{"layers":[` + toJSON(a) + `],"layers":[` + toJSON(b) + `]}`:                      {b},
	} {
		d, err := parseDocument([]byte(data))
		if fmt.Sprint(d.Layers) != fmt.Sprint(descriptors(want)) || err != nil {
			t.Errorf("%s: %v, %v", data, d.Layers, err)
		}
	}
	for _, data := range []string{`{"layers":{}}`, `{"layers":"x"}`, `{"layers":[1]}`, `{"layers":[{"digest":1}]}`, `{"manifests":[{}`} {
		if d, err := parseDocument([]byte(data)); !errors.Is(err, errNotManifest) {
			t.Errorf("%s: %v, %v", data, d, err)
		}
	}
}

// The memory for a document is bounded by a multiple of its size.
func TestMemoryOfDocuments(t *testing.T) {
	root := cid.MustParse(bafy)
	many := "[" + strings.Repeat("{},", 100_000) + "{}]"
	for name, data := range map[string]string{
		"disco.json":          `{"blobs":` + many + `}`,
		"index.json":          `{"manifests":` + many + `}`,
		"manifests/latest-v2": `{"schemaVersion":2,"config":{},"layers":` + many + `}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		form, err := Detect(t.Context(), forest{root: {name: data}}, Image{Root: root})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(20*len(data)) {
			t.Errorf("%s: %d MiB were allocated for %v, %v", name, took>>20, form, err)
		}
	}
}

// A form that is remembered does not keep the document from which it was read.
func TestFormsAreSmall(t *testing.T) {
	root := cid.MustParse(bafy)
	long := strings.Repeat("x", MaxManifest/2)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var forms [8]Form
	for i := range forms {
		index := indexOf(tagged(desc(DockerManifest, aManifest), v1.AnnotationRefName, long+":v1"))
		form, err := Detect(t.Context(), forest{root: {"index.json": index}}, Image{Root: root})
		if tags, _ := form.Tags(t.Context(), nil); err != nil || len(tags) != 1 {
			t.Fatal(tags, err)
		}
		forms[i] = form
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > MaxManifest {
		t.Errorf("%d forms keep %d KiB", len(forms), kept>>10)
	}
	runtime.KeepAlive(forms)
}
