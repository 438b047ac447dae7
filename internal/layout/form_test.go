package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// A forest is what is below several roots. A root that is a file has the path "".
type forest map[cid.Cid]tree

func (f forest) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	data, err := f[root].ReadFile(ctx, root, path, limit)
	if int64(len(data)) > limit {
		return nil, unixfs.ErrTooLarge
	}
	return data, err
}

func (f forest) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	return f[root].ReadDir(ctx, root, path)
}

// add adds a file that is a root, and returns its CID.
func (f forest) add(data string) cid.Cid {
	c := cidOf(data)
	f[c] = tree{"": data}
	return c
}

func cidOf(data string) cid.Cid {
	sum, err := mh.Sum([]byte(data), mh.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, sum)
}

func desc(mediaType, data string) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromString(data), Size: int64(len(data))}
}

func linkedDesc(mediaType, data string) v1.Descriptor {
	d := desc(mediaType, data)
	d.URLs = []string{"https://example.com/not-this", "ipfs://" + cidOf(data).String()}
	return d
}

func toJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// The parts of all of these images.
var (
	aConfig   = `{"rootfs":{"diff_ids":["` + digest.FromString("a tar").String() + `"]}}`
	aLayer    = "a compressed layer"
	aManifest = manifestOf(desc, aLayer)
)

func manifestOf(of func(mediaType, data string) v1.Descriptor, layer string) string {
	m := v1.Manifest{MediaType: DockerManifest, Config: of(DockerConfig, aConfig), Layers: []v1.Descriptor{of(DockerLayerGzip, layer)}}
	m.SchemaVersion = 2
	return toJSON(m)
}

func indexOf(manifests ...v1.Descriptor) string {
	i := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: manifests}
	i.SchemaVersion = 2
	return toJSON(i)
}

func tagged(d v1.Descriptor, key, value string) v1.Descriptor {
	d.Annotations = map[string]string{key: value}
	return d
}

// A formCase is an image in some form, and its parts.
type formCase struct {
	trees forest
	image Image
	tags  []string
	found map[string]string // manifests, by reference
	blobs map[string]Place  // where they are, by their content
	not   []string          // references that are absent
}

func formCases() map[string]formCase {
	root := cid.MustParse(bafy)
	img := Image{root, "app"}
	blob := func(data string) Place { return Place{Root: root, Path: BlobPath("app", digest.FromString(data))} }
	oci := func(data string) string { return "app/blobs/sha256/" + digest.FromString(data).Encoded() }
	other := manifestOf(desc, "another layer")
	platforms := indexOf(desc(v1.MediaTypeImageManifest, aManifest))

	nerdctl := forest{}
	linkedManifest := manifestOf(linkedDesc, aLayer)
	linkedIndex := indexOf(linkedDesc(v1.MediaTypeImageManifest, linkedManifest))
	for _, data := range []string{aConfig, aLayer, linkedManifest, linkedIndex} {
		nerdctl.add(data)
	}
	nerdctlRoot := nerdctl.add(toJSON(linkedDesc(v1.MediaTypeImageIndex, linkedIndex)))

	gantry := forest{}
	gantryManifest := manifestOf(func(mediaType, data string) v1.Descriptor {
		d := desc(mediaType, data)
		d.URLs = []string{cid.NewCidV0(cidOf(data).Hash()).String()}
		return d
	}, aLayer)
	gantryRoot := gantry.add(gantryManifest)

	disco := forest{root: {
		"_manifests/tags/latest/current/link": digest.FromString(aManifest).String(),
		"disco.json": fmt.Sprintf(`{"blobs":[{"digest":%q,"cid":%q},{"digest":%q,"cid":%q}]}`,
			digest.FromString(aManifest).Encoded(), cidOf(aManifest), digest.FromString(aLayer).Encoded(), cidOf(aLayer)),
	}}
	disco.add(aManifest)

	dagPB := func(data string) cid.Cid { return cid.NewCidV1(cid.DagProtobuf, cidOf(data).Hash()) }
	return map[string]formCase{
		"format 1": {
			trees: forest{root: {"app/manifests/1.0": aManifest, "app/manifests/latest": aManifest, "app/manifests/latest-v2": aManifest, "app/manifests/" + digest.FromString(aManifest).String(): aManifest}},
			image: img,
			tags:  []string{"1.0"},
			found: map[string]string{"1.0": aManifest, Latest: aManifest, latestV2: aManifest, digest.FromString(aManifest).String(): aManifest},
			blobs: map[string]Place{aLayer: blob(aLayer)},
			not:   []string{"2.0", digest.FromString("x").String()},
		},
		"tags without digests": {
			trees: forest{root: {"app/manifests/1.0": aManifest, "app/manifests/2.0": other, "app/manifests/page": "<html>"}},
			image: img,
			tags:  []string{"1.0", "2.0", "page"},
			found: map[string]string{"1.0": aManifest, digest.FromString(other).String(): other, digest.SHA512.FromString(aManifest).String(): aManifest},
			not:   []string{Latest, digest.FromString("x").String()},
		},
		"image2ipfs": {
			trees: forest{root: {"app/manifests/latest-v2": aManifest, "app/manifests/latest-v1": `{"schemaVersion":1}`, blob(aConfig).Path: aConfig}},
			image: img,
			tags:  []string{Latest},
			found: map[string]string{Latest: aManifest, digest.FromString(aManifest).String(): aManifest, digest.SHA512.FromString(aManifest).String(): aManifest},
			blobs: map[string]Place{aConfig: blob(aConfig), aLayer: blob(aLayer)},
			not:   []string{"1.0", "latest-v1", digest.FromString("x").String()},
		},
		"ipdr 0.1.6": {
			trees: forest{root: {"manifests/latest-v2": aManifest, BlobPath("", digest.FromString(aConfig)) + "/" + digest.FromString(aConfig).Encoded() + ".json": aConfig}},
			image: Image{Root: root},
			tags:  []string{Latest},
			found: map[string]string{Latest: aManifest, digest.FromString(aManifest).String(): aManifest},
			blobs: map[string]Place{
				aConfig: {Root: root, Path: BlobPath("", digest.FromString(aConfig)) + "/" + digest.FromString(aConfig).Encoded() + ".json"},
				aLayer:  {Root: root, Path: BlobPath("", digest.FromString(aLayer))},
			},
		},
		"OCI, one tag": {
			trees: forest{root: {"app/index.json": indexOf(tagged(desc(v1.MediaTypeImageIndex, platforms), v1.AnnotationRefName, "v1")), oci(platforms): platforms, oci(aManifest): aManifest}},
			image: img,
			tags:  []string{"v1"},
			found: map[string]string{"v1": platforms, Latest: platforms, digest.FromString(platforms).String(): platforms, digest.FromString(aManifest).String(): aManifest},
			blobs: map[string]Place{aLayer: {Root: root, Path: oci(aLayer)}},
			not:   []string{"v2", digest.FromString(aLayer).String()},
		},
		"OCI, no tag": {
			trees: forest{root: {"app/index.json": indexOf(desc(DockerManifest, aManifest)), oci(aManifest): aManifest}},
			image: img,
			found: map[string]string{Latest: aManifest},
			not:   []string{"v1"},
		},
		"OCI, whole names": {
			trees: forest{root: {"app/index.json": indexOf(
				tagged(desc(DockerManifest, aManifest), v1.AnnotationRefName, "localhost:5000/app:v1"),
				tagged(desc(DockerManifest, other), containerdName, "docker.io/library/app:v2"),
				tagged(desc(DockerManifest, other), v1.AnnotationRefName, "v3"),
				tagged(desc(DockerManifest, aManifest), v1.AnnotationRefName, "v3"),
			), oci(aManifest): aManifest, oci(other): other}},
			image: img,
			tags:  []string{"v1", "v2"},
			found: map[string]string{"v1": aManifest, "v2": other},
			not:   []string{"v3", Latest}, // of which there are two
		},
		"nerdctl": {
			trees: nerdctl,
			image: Image{Root: nerdctlRoot},
			tags:  []string{Latest},
			found: map[string]string{Latest: linkedIndex, digest.FromString(linkedIndex).String(): linkedIndex, digest.FromString(linkedManifest).String(): linkedManifest},
			blobs: map[string]Place{aConfig: {Root: cidOf(aConfig)}, aLayer: {Root: cidOf(aLayer)}},
			not:   []string{"v1", digest.FromString("x").String(), digest.FromString(aManifest).String()},
		},
		"gantry": {
			trees: gantry,
			image: Image{Root: gantryRoot},
			tags:  []string{Latest},
			found: map[string]string{Latest: gantryManifest, digest.FromString(gantryManifest).String(): gantryManifest},
			blobs: map[string]Place{aConfig: {Root: dagPB(aConfig)}, aLayer: {Root: dagPB(aLayer)}},
		},
		"disco": {
			trees: disco,
			image: Image{Root: root},
			tags:  []string{Latest},
			found: map[string]string{Latest: aManifest, digest.FromString(aManifest).String(): aManifest},
			blobs: map[string]Place{aLayer: {Root: cidOf(aLayer)}},
			not:   []string{"v1", digest.FromString("x").String()},
		},
	}
}

func TestForms(t *testing.T) {
	for name, test := range formCases() {
		t.Run(name, func(t *testing.T) {
			form, err := Detect(t.Context(), test.trees, test.image)
			if err != nil {
				t.Fatal(err)
			}
			if tags, err := form.Tags(t.Context(), test.trees); err != nil || !slices.Equal(tags, test.tags) {
				t.Errorf("tags %v, %v; want %v", tags, err, test.tags)
			}
			// Blobs first: a client need not have asked for a manifest before.
			for data, want := range test.blobs {
				if at, err := form.Blob(t.Context(), test.trees, digest.FromString(data)); err != nil || at != want {
					t.Errorf("blob at %s, %v; want %s", at, err, want)
				}
			}
			for reference, want := range test.found {
				m, err := form.Manifest(t.Context(), test.trees, reference)
				if err != nil || string(m.Data) != want || IsDigest(reference) && m.Digest.String() != reference {
					t.Errorf("%s: %s, %v", reference, m.Data, err)
				}
				if data, err := test.trees.ReadFile(t.Context(), m.At.Root, m.At.Path, MaxManifest); string(data) != want {
					t.Errorf("%s: at %s there is %s, %v", reference, m.At, data, err)
				}
			}
			for _, reference := range test.not {
				if m, err := form.Manifest(t.Context(), test.trees, reference); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotManifest) {
					t.Errorf("%s: %s, %v", reference, m.Data, err)
				}
			}
		})
	}
}

// A root that is not an image is reported as absent.
func TestOtherRootsHoldNoImage(t *testing.T) {
	root := cid.MustParse(bafy)
	for name, test := range map[string]struct {
		tree tree
		name string
	}{
		"nothing":               {tree{}, ""},
		"another name":          {tree{"other/manifests/latest": aManifest}, "app"},
		"a website":             {tree{"index.html": "<html>", "index.json": "[]"}, ""},
		"its index":             {tree{"index.json": `{"manifests":[]}`}, ""},
		"a page":                {tree{"": "<html>"}, ""},
		"a layer":               {tree{"": strings.Repeat("x", MaxManifest+1)}, ""},
		"a descriptor, nowhere": {tree{"": toJSON(desc(DockerManifest, aManifest))}, ""},
		"a file of a name":      {tree{"app": aManifest}, "app"},
	} {
		if form, err := Detect(t.Context(), forest{root: test.tree}, Image{root, test.name}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, %v", name, form, err)
		}
	}
}

// A read error is not reported as an absence.
func TestReadErrorsAreNotAbsences(t *testing.T) {
	failed := errors.New("no gateway answers")
	for name, test := range formCases() {
		for _, of := range []string{"file", "directory"} {
			trees := unreadable{test.trees, of, failed}
			form, err := Detect(t.Context(), trees, test.image)
			if err == nil {
				_, err = form.Manifest(t.Context(), trees, slices.Sorted(maps.Keys(test.found))[0])
			}
			if of == "file" && !errors.Is(err, failed) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// unreadable fails to read files, or directories.
type unreadable struct {
	forest
	what string
	err  error
}

func (u unreadable) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	if u.what == "file" {
		return nil, u.err
	}
	return u.forest.ReadFile(ctx, root, path, limit)
}

func (u unreadable) ReadDir(ctx context.Context, root cid.Cid, path string) (map[string]cid.Cid, error) {
	if u.what == "directory" {
		return nil, u.err
	}
	return u.forest.ReadDir(ctx, root, path)
}

// Images of image2ipfs 0.1.0 are refused, and those of other versions are served.
func TestImagesOfImage2ipfs010AreRefused(t *testing.T) {
	root := cid.MustParse(bafy)
	for layer, want := range map[string]error{"a tar": ErrUncompressedDigest, aLayer: nil} {
		m := manifestOf(desc, layer)
		trees := forest{root: {"manifests/latest-v2": m, BlobPath("", digest.FromString(aConfig)): aConfig}}
		form, err := Detect(t.Context(), trees, Image{Root: root})
		if err != nil {
			t.Fatal(err)
		}
		for _, reference := range []string{Latest, digest.FromString(m).String()} {
			if _, err := form.Manifest(t.Context(), trees, reference); !errors.Is(err, want) {
				t.Errorf("%s with the layer %q: %v, want %v", reference, layer, err, want)
			}
		}
	}
}

// A manifest that does not match its descriptor is never returned.
func TestFormsCheckDigests(t *testing.T) {
	root := cid.MustParse(bafy)
	false1 := manifestOf(desc, "false")
	oci := forest{root: {"index.json": indexOf(desc(DockerManifest, aManifest)), "blobs/sha256/" + digest.FromString(aManifest).Encoded(): false1}}
	nerdctl := forest{}
	top := desc(DockerManifest, aManifest)
	top.URLs = []string{"ipfs://" + nerdctl.add(false1).String()}
	disco := forest{root: {
		"_manifests/tags/latest/current/link": digest.FromString(aManifest).String(),
		"disco.json":                          fmt.Sprintf(`{"blobs":[{"digest":%q,"cid":%q}]}`, digest.FromString(aManifest).Encoded(), cidOf(false1)),
	}}
	disco.add(false1)
	for _, test := range []struct {
		trees forest
		root  cid.Cid
	}{{oci, root}, {nerdctl, nerdctl.add(toJSON(top))}, {disco, root}} {
		form, err := Detect(t.Context(), test.trees, Image{Root: test.root})
		if err != nil {
			t.Fatal(err)
		}
		for _, reference := range []string{Latest, digest.FromString(aManifest).String()} {
			if m, err := form.Manifest(t.Context(), test.trees, reference); !errors.Is(err, ErrDigest) {
				t.Errorf("%s: %s, %v", reference, m.Data, err)
			}
		}
	}
}

// Looking for an absent blob in an image of a thousand platforms takes a bounded number
// of reads. Manifests that a client asks for are still found.
func TestLinkedIsBounded(t *testing.T) {
	trees := forest{}
	var all []v1.Descriptor
	for i := range 1000 {
		m := manifestOf(linkedDesc, fmt.Sprint("layer ", i))
		trees.add(m)
		all = append(all, linkedDesc(DockerManifest, m))
	}
	index := indexOf(all...)
	trees.add(index)
	root := trees.add(toJSON(linkedDesc(v1.MediaTypeImageIndex, index)))
	counted := &counting{forest: trees}
	form, err := Detect(t.Context(), counted, Image{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := form.Blob(t.Context(), counted, digest.FromString("nowhere")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if counted.reads > maxDocuments+1 {
		t.Errorf("%d reads for what is nowhere", counted.reads)
	}
	if _, err := form.Manifest(t.Context(), counted, all[999].Digest.String()); err != nil {
		t.Error(err)
	}
	if _, err := form.Blob(t.Context(), counted, digest.FromString("layer 999")); err != nil {
		t.Error(err)
	}
}

// Looking for an absent blob reads a bounded number of bytes, however large the manifests are.
func TestSearchOfLargeLinkedManifestsIsBounded(t *testing.T) {
	trees := forest{}
	var all []v1.Descriptor
	for i := range 100 {
		m := manifestOf(linkedDesc, fmt.Sprint("layer ", i)) + strings.Repeat(" ", 1<<20)
		trees.add(m)
		all = append(all, linkedDesc(DockerManifest, m))
	}
	index := indexOf(all...)
	trees.add(index)
	root := trees.add(toJSON(linkedDesc(v1.MediaTypeImageIndex, index)))
	counted := &counting{forest: trees}
	form, err := Detect(t.Context(), counted, Image{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := form.Blob(t.Context(), counted, digest.FromString("nowhere")); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if counted.reads > maxDocumentBytes>>20+2 {
		t.Errorf("%d manifests of a MiB were read for what is nowhere", counted.reads)
	}
}

// A pull of an image without a directory reads each document once, and nothing else to
// locate blobs.
func TestLinkedLearnsAsItGoes(t *testing.T) {
	test := formCases()["nerdctl"]
	counted := &counting{forest: test.trees}
	form, err := Detect(t.Context(), counted, test.image)
	if err != nil {
		t.Fatal(err)
	}
	top, err := form.Manifest(t.Context(), counted, Latest)
	if err != nil {
		t.Fatal(err)
	}
	leads, err := parseDocument(top.Data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := form.Manifest(t.Context(), counted, leads.Manifests[0].Digest.String()); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{aConfig, aLayer} {
		if _, err := form.Blob(t.Context(), counted, digest.FromString(data)); err != nil {
			t.Error(err)
		}
	}
	if counted.reads != 3 {
		t.Errorf("%d reads", counted.reads)
	}
}

type counting struct {
	forest
	reads int
}

func (c *counting) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	c.reads++
	return c.forest.ReadFile(ctx, root, path, limit)
}

// Referrers come from the directory and from the tag, each once.
func TestReferrers(t *testing.T) {
	root := cid.MustParse(bafy)
	img := Image{root, "app"}
	subject := digest.FromString(aManifest)
	a, b := desc(v1.MediaTypeImageManifest, "a"), desc(v1.MediaTypeImageManifest, "b")
	tag := "sha256-" + subject.Encoded()
	for name, test := range map[string]struct {
		tree tree
		want []v1.Descriptor
	}{
		"directory": {tree{"app/referrers/" + subject.String(): indexOf(a)}, []v1.Descriptor{a}},
		"tag":       {tree{"app/manifests/" + tag: indexOf(b)}, []v1.Descriptor{b}},
		"both":      {tree{"app/referrers/" + subject.String(): indexOf(a), "app/manifests/" + tag: indexOf(a, b)}, []v1.Descriptor{a, b}},
		"neither":   {tree{}, nil},
		"no index":  {tree{"app/manifests/" + tag: aManifest}, nil},
	} {
		test.tree["app/manifests/"+subject.String()] = aManifest
		trees := forest{root: test.tree}
		form, err := Detect(t.Context(), trees, img)
		if err != nil {
			t.Fatal(err)
		}
		got, err := form.Referrers(t.Context(), trees, subject)
		same := slices.EqualFunc(got, test.want, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
		if !same || errors.Is(err, fs.ErrNotExist) != (test.want == nil) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	trees := forest{root: {"index.json": indexOf(tagged(desc(v1.MediaTypeImageIndex, indexOf(a)), v1.AnnotationRefName, tag)), "blobs/sha256/" + digest.FromString(indexOf(a)).Encoded(): indexOf(a)}}
	form, err := Detect(t.Context(), trees, Image{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := form.Referrers(t.Context(), trees, subject); err != nil || len(got) != 1 {
		t.Errorf("OCI: %v, %v", got, err)
	}
}

// A tree that lacks a part of an image does not return an incomplete list of referrers,
// and does not use an alias in place of the manifest that it lacks.
func TestLackingIsNotAbsent(t *testing.T) {
	root := cid.MustParse(bafy)
	subject := digest.FromString(aManifest)
	referrersOf, tag := "app/referrers/"+subject.String(), "app/manifests/sha256-"+subject.Encoded()
	trees := forest{root: {
		referrersOf:               indexOf(desc(v1.MediaTypeImageManifest, "a")),
		tag:                       indexOf(desc(v1.MediaTypeImageManifest, "b")),
		"app/manifests/latest":    aManifest,
		"app/manifests/latest-v2": manifestOf(desc, "another layer"),
	}}
	for _, path := range []string{referrersOf, tag} {
		form := Native(Image{root, "app"})
		if got, err := form.Referrers(t.Context(), lacking{trees, path}, subject); !errors.Is(err, ErrLacking) {
			t.Errorf("without %s: %v, %v", path, got, err)
		}
	}
	for _, reference := range []string{Latest, subject.String()} {
		m, err := Native(Image{root, "app"}).Manifest(t.Context(), lacking{trees, "app/manifests/" + reference}, reference)
		if !errors.Is(err, ErrLacking) {
			t.Errorf("without %s: %s, %v", reference, m.Data, err)
		}
	}
}

// lacking is a tree that lacks a file of the image.
type lacking struct {
	forest
	path string
}

func (l lacking) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	if path == l.path {
		return nil, ErrLacking
	}
	return l.forest.ReadFile(ctx, root, path, limit)
}

// No root causes a panic, and a manifest that is found by digest has that digest.
func FuzzDetect(f *testing.F) {
	for _, test := range formCases() {
		for _, tree := range test.trees {
			for _, data := range tree {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data string) {
		root := cid.MustParse(bafy)
		for _, file := range []string{"", "index.json", "disco.json", "manifests/latest-v2", "manifests/v1"} {
			trees := forest{root: {file: data}}
			trees.add(aManifest)
			form, err := Detect(t.Context(), trees, Image{Root: root})
			if err != nil {
				continue
			}
			tags, err := form.Tags(t.Context(), trees)
			for _, tag := range tags {
				if CheckTag(tag) != nil || err != nil {
					t.Errorf("%s: tag %q, %v", file, tag, err)
				}
				form.Manifest(t.Context(), trees, tag)
			}
			d := digest.FromString(aManifest)
			if m, err := form.Manifest(t.Context(), trees, d.String()); err == nil && digest.FromBytes(m.Data) != d {
				t.Errorf("%s: %s is %s", file, d, m.Data)
			}
			if at, err := form.Blob(t.Context(), trees, d); err == nil && (!at.Root.Defined() || strings.HasPrefix(at.Path, "/")) {
				t.Errorf("%s: a blob at %s", file, at)
			}
		}
	})
}
