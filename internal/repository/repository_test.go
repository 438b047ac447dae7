package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// random returns n bytes, always the same for a seed.
func random(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func repositoryOf(t testing.TB, s *store.Store, name string) *Repository {
	t.Helper()
	r, err := New(s, Config{}).Repository(name, "alice")
	check(t, err)
	return r
}

// upload uploads a blob.
func upload(t testing.TB, r *Repository, content []byte) digest.Digest {
	t.Helper()
	u, err := r.Begin(t.Context())
	check(t, err)
	_, err = r.Append(t.Context(), u.ID, 0, bytes.NewReader(content))
	check(t, err)
	d := digest.FromBytes(content)
	check(t, r.Finish(t.Context(), u.ID, d))
	return d
}

func descriptor(content []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: int64(len(content))}
}

// manifestOf returns an image manifest with a config and layers.
func manifestOf(t testing.TB, subject []byte, config []byte, layers ...[]byte) []byte {
	t.Helper()
	m := v1.Manifest{MediaType: v1.MediaTypeImageManifest, Config: descriptor(config), Layers: []v1.Descriptor{}}
	m.SchemaVersion = 2
	m.Config.MediaType = v1.MediaTypeImageConfig
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor(l))
	}
	if subject != nil {
		d := descriptor(subject)
		d.MediaType = v1.MediaTypeImageManifest
		m.Subject = &d
	}
	data, err := json.Marshal(m)
	check(t, err)
	return data
}

// push uploads the parts of an image and then its manifest.
func push(t testing.TB, r *Repository, tag string, subject, config []byte, layers ...[]byte) (Put, []byte) {
	t.Helper()
	for _, b := range append(slices.Clone(layers), config) {
		upload(t, r, b)
	}
	data := manifestOf(t, subject, config, layers...)
	put, err := r.PutManifest(t.Context(), Manifest{Reference: tag, MediaType: v1.MediaTypeImageManifest, Data: data})
	check(t, err)
	return put, data
}

// at returns the content of a file below a root, or "" if there is none.
func at(t testing.TB, s *store.Store, root cid.Cid, path string) string {
	t.Helper()
	data, err := s.ReadFile(t.Context(), root, path, 8<<20)
	if errors.Is(err, store.ErrLacking) && root.Defined() {
		return "lacking"
	}
	if err != nil {
		return ""
	}
	return string(data)
}

func TestPush(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "team/app")
	config, layer := []byte(`{"rootfs":{}}`), random(1, 3<<20)
	put, data := push(t, r, "v1", nil, config, layer)
	if !put.Changed || put.Digest != digest.FromBytes(data) || put.Subject != "" {
		t.Errorf("it gives %+v", put)
	}
	current, err := r.root().Current()
	if err != nil || !current.Equals(put.State) {
		t.Errorf("the root is %s, and was said to be %s: %v", current, put.State, err)
	}
	for _, root := range []cid.Cid{put.State, put.Address} {
		for path, want := range map[string]string{
			"team/app/manifests/v1":                                     string(data),
			"team/app/manifests/" + put.Digest.String():                 string(data),
			"team/app/blobs/" + digest.FromBytes(config).String():       string(config),
			"team/app/blobs/" + digest.FromBytes(layer).String():        string(layer),
			"team/app/manifests/" + layout.Latest:                       "",
			"team/app/referrers/" + digest.FromBytes(data).String():     "",
			"team/other/manifests/v1":                                   "",
			"team/app/manifests/" + digest.FromString("x").String():     "",
			"team/app/blobs/" + digest.SHA512.FromBytes(layer).String(): "",
		} {
			if got := at(t, s, root, path); got != want {
				t.Errorf("%s is %.40q, want %.40q", path, got, want)
			}
		}
	}
	f, err := r.Blob(t.Context(), digest.FromBytes(layer))
	check(t, err)
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, layer) {
		t.Errorf("the blob is another one: %v", err)
	}
	again, err := r.PutManifest(t.Context(), Manifest{Reference: "v1", Data: data})
	if err != nil || again.Changed || !again.Address.Equals(put.Address) || !again.State.Equals(put.State) {
		t.Errorf("the same again gives %+v, %v", again, err)
	}
	if address, err := r.Address(t.Context()); err != nil || !address.Equals(put.Address) {
		t.Errorf("the address is %s, %v", address, err)
	}
	images, err := New(s, Config{}).Images(t.Context(), put.State)
	if err != nil || len(images) != 1 || images[0] != (layout.Tagged{Name: "team/app", Tag: "v1", Digest: put.Digest}) {
		t.Errorf("the images are %v, %v", images, err)
	}
}

// A state depends on the images in it, and not on the order in which they were pushed, nor on
// what was pushed and deleted in between.
func TestStatesDoNotDependOnTheOrder(t *testing.T) {
	layers := [][]byte{random(1, 100_000), random(2, 50), random(3, 2<<20)}
	var want cid.Cid
	for round := range 4 {
		s := store.Open(t.TempDir())
		order := rand.New(rand.NewPCG(uint64(round), 1)).Perm(6)
		var last Put
		for _, i := range order {
			r := repositoryOf(t, s, []string{"app", "team/app", "team"}[i%3])
			last, _ = push(t, r, fmt.Sprint("v", i), []byte("subject"), fmt.Appendf(nil, "config %d", i%2), layers[i%2:]...)
		}
		r := repositoryOf(t, s, "app")
		gone, _ := push(t, r, "gone", []byte("subject"), []byte("of this image alone"), layers[0])
		done, err := r.DeleteManifest(t.Context(), gone.Digest)
		check(t, err)
		if !done.State.Equals(last.State) {
			t.Errorf("after a push and a delete the root is %s, and was %s", done.State, last.State)
		}
		if want.Defined() && !last.State.Equals(want) {
			t.Errorf("in the order %v the root is %s, and was %s", order, last.State, want)
		}
		want = last.State
	}
}

func TestNames(t *testing.T) {
	r := New(store.Open(t.TempDir()), Config{})
	for name, reserved := range map[string]bool{
		"": false, "Team/app": false, "team//app": false, "team/blobs/app": false, strings.Repeat("a", 256): false,
		"ipfs/app": true, "ipns": true, "v2/app": true, "routing/v1": true,
		"ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsy/app":     true,
		"bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354/app": true,
		"ciqok4vggyb6gkr53nppgd6n2gg4thx67pdd22iw7du6456qj4cutsz/app":     true,
	} {
		_, err := r.Repository(name, "")
		if refused, ok := errors.AsType[*NameError](err); !ok || refused.Reserved != reserved {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"app", "team/app", "a/b/c/d", "ipfsx", "manifest/app"} {
		if _, err := r.Repository(name, ""); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "app")
	config := []byte("{}")
	upload(t, r, config)
	valid := manifestOf(t, nil, config)
	for name, m := range map[string]Manifest{
		"no manifest":                 {Reference: "v1", Data: []byte("<html>")},
		"a tag that is none":          {Reference: "-v1", Data: valid},
		"a further tag that is none":  {Reference: "v1", Tags: []string{"v2", "a/b"}, Data: valid},
		"another media type":          {Reference: "v1", MediaType: v1.MediaTypeImageIndex, Data: valid},
		"an unknown media type":       {Reference: "v1", MediaType: "text/html", Data: bytes.Replace(valid, []byte(v1.MediaTypeImageManifest), []byte("text/html"), 1)},
		"a digest that is none":       {Reference: "sha256:x", Data: valid},
		"a layer with a wrong digest": {Reference: "v1", Data: bytes.Replace(valid, []byte(`"layers":[`), []byte(`"layers":[{"digest":"sha256:x"}`), 1)},
	} {
		if _, err := r.PutManifest(t.Context(), m); err == nil {
			t.Errorf("%s: it was stored", name)
		} else if _, ok := errors.AsType[*InvalidError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.PutManifest(t.Context(), Manifest{Reference: digest.FromString("x").String(), Data: valid})
	if wrong, ok := errors.AsType[*DigestError](err); !ok || wrong.Got != digest.FromBytes(valid) {
		t.Errorf("another digest: %v", err)
	}
	_, err = r.PutManifest(t.Context(), Manifest{Reference: "v1", Data: make([]byte, layout.MaxManifest+1)})
	if large, ok := errors.AsType[*TooLargeError](err); !ok || large.Limit != layout.MaxManifest {
		t.Errorf("a large manifest: %v", err)
	}
	missing := manifestOf(t, nil, config, []byte("one"), []byte("two"), []byte("one"))
	_, err = r.PutManifest(t.Context(), Manifest{Reference: "v1", Data: missing})
	if m, ok := errors.AsType[*MissingError](err); !ok || !slices.Contains(m.Blobs, digest.FromString("one")) || !slices.Contains(m.Blobs, digest.FromString("two")) {
		t.Errorf("missing layers: %v", err)
	}
	if _, err := s.Root().Current(); !errors.Is(err, store.ErrLacking) {
		t.Errorf("something was stored: %v", err)
	}
}

// What a manifest may name without its being there: layers with URLs, a subject, and the
// manifests of an index.
func TestManifestsOfMissingParts(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "app")
	config := []byte("{}")
	upload(t, r, config)
	foreign := bytes.Replace(manifestOf(t, nil, config, []byte("elsewhere")), []byte(`"size":9`), []byte(`"size":9,"urls":["https://example.com/layer"]`), 1)
	for _, data := range [][]byte{
		foreign,
		manifestOf(t, []byte("a subject"), config),
		[]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"` + digest.FromString("x").String() + `"}]}`),
	} {
		if _, err := r.PutManifest(t.Context(), Manifest{Reference: "v1", Data: data}); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}

// A manifest that is larger than a block, by both digests and three tags.
func TestLargeManifestOfManyNames(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "app")
	config := []byte("{}")
	upload(t, r, config)
	data := bytes.Replace(manifestOf(t, nil, config), []byte(`{`), []byte(`{"annotations":{"long":"`+strings.Repeat("x", 2<<20)+`"},`), 1)
	d := digest.SHA512.FromBytes(data)
	put, err := r.PutManifest(t.Context(), Manifest{Reference: d.String(), Tags: []string{"v1", "v2", "latest"}, Data: data})
	check(t, err)
	if put.Digest != d {
		t.Errorf("the digest is %s", put.Digest)
	}
	for _, name := range []string{"v1", "v2", "latest", d.String(), digest.FromBytes(data).String()} {
		if at(t, s, put.State, "app/manifests/"+name) != string(data) {
			t.Errorf("%s is another manifest", name)
		}
	}
	_, err = s.Collect(t.Context(), false)
	check(t, err)
	if _, err := r.DeleteManifest(t.Context(), d); err != nil {
		t.Error(err)
	}
	if _, err := r.DeleteManifest(t.Context(), d); !errors.Is(err, ErrNameUnknown) {
		t.Errorf("the repository is still there: %v", err)
	}
}

func TestReferrers(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "app")
	image := manifestOf(t, nil, []byte("{}"))
	path := "app/referrers/" + digest.FromBytes(image).String()
	first, _ := push(t, r, digest.FromBytes(manifestOf(t, image, []byte("one"))).String(), image, []byte("one"))
	second, _ := push(t, r, "signature", image, []byte("two"))
	if first.Subject != digest.FromBytes(image) {
		t.Errorf("the subject is %s", first.Subject)
	}
	list := func(state cid.Cid) (named []digest.Digest) {
		var index v1.Index
		if text := at(t, s, state, path); text != "" {
			check(t, json.Unmarshal([]byte(text), &index))
		}
		for _, d := range index.Manifests {
			named = append(named, d.Digest)
			if d.ArtifactType != v1.MediaTypeImageConfig || d.Size == 0 || d.MediaType != v1.MediaTypeImageManifest {
				t.Errorf("a referrer is described as %+v", d)
			}
		}
		return named
	}
	if named := list(second.State); len(named) != 2 || !slices.IsSorted(named) {
		t.Errorf("the referrers are %v", named)
	}
	done, err := r.DeleteManifest(t.Context(), first.Digest)
	check(t, err)
	if named := list(done.State); !slices.Equal(named, []digest.Digest{second.Digest}) {
		t.Errorf("the referrers are %v", named)
	}
	if done, err = r.DeleteManifest(t.Context(), second.Digest); err != nil || len(list(done.State)) != 0 {
		t.Errorf("the referrers are %v, %v", list(done.State), err)
	}
}

func TestDelete(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "app")
	shared, alone := random(1, 1000), random(2, 1000)
	one, _ := push(t, r, "v1", nil, []byte("one"), shared, alone)
	_, err := r.PutManifest(t.Context(), Manifest{Reference: "v1.0", Data: manifestOf(t, nil, []byte("one"), shared, alone)})
	check(t, err)
	two, _ := push(t, r, "v2", nil, []byte("two"), shared)

	done, err := r.DeleteTag(t.Context(), "v1.0")
	if err != nil || at(t, s, done.State, "app/manifests/v1.0") != "" || at(t, s, done.State, "app/manifests/v1") == "" {
		t.Errorf("a deleted tag: %v", err)
	}
	if _, err := r.DeleteTag(t.Context(), "v1.0"); !errors.Is(err, ErrManifestUnknown) {
		t.Errorf("a tag that is not there: %v", err)
	}
	if _, err := repositoryOf(t, s, "other").DeleteTag(t.Context(), "v1"); !errors.Is(err, ErrNameUnknown) {
		t.Errorf("a repository that is not there: %v", err)
	}
	done, err = r.DeleteManifest(t.Context(), one.Digest)
	check(t, err)
	for path, want := range map[string]bool{
		"app/manifests/v1":                               false,
		"app/manifests/" + one.Digest.String():           false,
		"app/blobs/" + digest.FromBytes(alone).String():  false,
		"app/blobs/" + digest.FromString("one").String(): false,
		"app/blobs/" + digest.FromBytes(shared).String(): true,
		"app/blobs/" + digest.FromString("two").String(): true,
		"app/manifests/v2":                               true,
	} {
		if got := at(t, s, done.State, path) != ""; got != want {
			t.Errorf("%s is there: %v", path, got)
		}
	}
	if !done.Address.Defined() || at(t, s, done.Address, "app/manifests/v2") == "" {
		t.Error("there is no address of what is left")
	}
	if _, err := r.DeleteBlob(t.Context(), digest.FromBytes(alone)); !errors.Is(err, ErrBlobUnknown) {
		t.Errorf("a blob that is not there: %v", err)
	}
	if _, err := r.DeleteBlob(t.Context(), digest.FromBytes(shared)); err != nil {
		t.Error(err)
	}
	if _, err := r.Blob(t.Context(), digest.FromBytes(shared)); !errors.Is(err, ErrBlobUnknown) {
		t.Errorf("a deleted blob: %v", err)
	}
	if done, err = r.DeleteManifest(t.Context(), two.Digest); err != nil || done.Address.Defined() {
		t.Errorf("a repository without images has the address %s, %v", done.Address, err)
	}
}

// A deleted image is gone from disk once no state has it.
func TestDeletedImagesAreCollected(t *testing.T) {
	s := store.Open(t.TempDir())
	r := repositoryOf(t, s, "app")
	layer := random(1, 2<<20)
	put, _ := push(t, r, "v1", nil, []byte("{}"), layer)
	_, err := r.DeleteManifest(t.Context(), put.Digest)
	check(t, err)
	_, err = s.Collect(t.Context(), false)
	check(t, err)
	if at(t, s, put.Address, "app/blobs/"+digest.FromBytes(layer).String()) != string(layer) {
		t.Error("a kept state lost a layer")
	}
	check(t, s.Root().SetKeep(0))
	_, err = s.Collect(t.Context(), false)
	check(t, err)
	if f, err := s.OpenBlob(digest.FromBytes(layer), int64(len(layer))); !errors.Is(err, store.ErrLacking) {
		f.Close()
		t.Errorf("the layer is still there: %v", err)
	}
}

func TestMount(t *testing.T) {
	s := store.Open(t.TempDir())
	from := repositoryOf(t, s, "team/base")
	layer := random(1, 3<<20)
	put, _ := push(t, from, "v1", nil, []byte("{}"), layer)
	pending := upload(t, from, []byte("pending"))
	d := digest.FromBytes(layer)

	r := repositoryOf(t, s, "team/app")
	if _, err := r.Blob(t.Context(), d); !errors.Is(err, ErrBlobUnknown) {
		t.Errorf("another repository's blob: %v", err)
	}
	check(t, r.Mount(t.Context(), d, layout.Image{Name: "team/base"}))
	check(t, r.Mount(t.Context(), pending, layout.Image{Name: "team/base"}))
	f, err := r.Blob(t.Context(), d)
	check(t, err)
	check(t, f.Close())
	byAddress := repositoryOf(t, s, "elsewhere")
	check(t, byAddress.Mount(t.Context(), d, layout.Image{Root: put.Address, Name: "team/base"}))
	for name, image := range map[string]layout.Image{
		"a repository that is not there": {Name: "none"},
		"an address that is not here":    {Root: cid.MustParse("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"), Name: "app"},
		"an image without the blob":      {Root: put.Address, Name: "team/other"},
	} {
		if err := repositoryOf(t, s, "third").Mount(t.Context(), d, image); !errors.Is(err, ErrBlobUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	upload(t, r, []byte("{}"))
	if _, err := r.PutManifest(t.Context(), Manifest{Reference: "v1", Data: manifestOf(t, nil, []byte("{}"), layer)}); err != nil {
		t.Error(err)
	}
}
