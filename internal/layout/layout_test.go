package layout

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

const (
	ciq  = "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"
	bafy = "bafybeiemubpxrd4g74pzywujnoix6mouqf6culv4jsbaah5foeqlirx7de"
)

func TestParseImage(t *testing.T) {
	root := cid.MustParse(bafy)
	for s, name := range map[string]string{
		ciq:                       "",
		bafy:                      "",
		ciq + "/app":              "app",
		bafy + "/team/app-x_y.z":  "team/app-x_y.z",
		"ipfs/" + ciq:             "",
		"ipfs/" + bafy + "/a/b/c": "a/b/c",
		ciq + "/ipfs/app":         "ipfs/app",
	} {
		if got, err := ParseImage(s); err != nil || got != (Image{root, name}) {
			t.Errorf("ParseImage(%q) = %v, %v; want %v", s, got, err, Image{root, name})
		}
	}
	for _, s := range []string{
		"", "/", "ipfs", "ipfs/", "nginx", "library/nginx", "ipfs/nginx",
		ciq + "/", ciq + "//app", ciq + "/app/", ciq + "/App", ciq + "/..", ciq + "/a/../b", ciq + "/a%2fb",
		ciq + "/app/blobs", ciq + "/manifests", ciq + "/referrers/app",
		"ipfs/ipfs/" + ciq, ciq + "/" + strings.Repeat("a", MaxName),
	} {
		if got, err := ParseImage(s); err == nil {
			t.Errorf("ParseImage(%q) = %v, want an error", s, got)
		}
	}
	if _, err := ParseImage("nginx"); !errors.Is(err, cidname.ErrNotCID) {
		t.Errorf("ParseImage(%q): %v, want %v", "nginx", err, cidname.ErrNotCID)
	}
}

func TestCheckTag(t *testing.T) {
	for _, tag := range []string{"latest", "1.0", "_x", "A-b.c", strings.Repeat("a", 128)} {
		if err := CheckTag(tag); err != nil {
			t.Error(err)
		}
	}
	for _, tag := range []string{"", "-x", ".x", "a/b", "a b", "..", "sha256:00", strings.Repeat("a", 129)} {
		if CheckTag(tag) == nil {
			t.Errorf("%q is accepted as a tag", tag)
		}
	}
}

func TestParseDigest(t *testing.T) {
	for _, d := range []digest.Digest{digest.FromString("x"), digest.SHA512.FromString("x")} {
		if got, err := ParseDigest(d.String()); err != nil || got != d {
			t.Errorf("ParseDigest(%q) = %q, %v", d, got, err)
		}
	}
	valid := digest.FromString("x").String()
	for _, s := range []string{"", "sha256:", "sha256", valid[:70], valid + "0", "md5:d41d8cd98f00b204e9800998ecf8427e", strings.ToUpper(valid), "sha256:../" + valid[10:]} {
		if got, err := ParseDigest(s); err == nil {
			t.Errorf("ParseDigest(%q) = %q, want an error", s, got)
		}
	}
}

func TestParseManifest(t *testing.T) {
	for data, want := range map[string]string{
		`{"schemaVersion":2,"mediaType":"` + DockerManifest + `"}`:           DockerManifest,
		`{"schemaVersion":2,"mediaType":"` + DockerManifestList + `"}`:       DockerManifestList,
		`{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `"}`:   v1.MediaTypeImageIndex,
		`{"schemaVersion":2,"config":{},"layers":[]}`:                        v1.MediaTypeImageManifest,
		`{"schemaVersion":2,"manifests":[]}`:                                 v1.MediaTypeImageIndex,
		" {\n  \"schemaVersion\": 2, \"config\": {}, \"layers\": []\n}\n":    v1.MediaTypeImageManifest,
		`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}`:      OCIArtifact,
		`{"schemaVersion":2,"mediaType":"","config":{},"layers":[],"x":"y"}`: v1.MediaTypeImageManifest,
	} {
		m, err := ParseManifest([]byte(data))
		if err != nil || m.MediaType != want || m.Digest != digest.FromString(data) || string(m.Data) != data {
			t.Errorf("ParseManifest(%s) = %s, %s, %v; want %s", data, m.MediaType, m.Digest, err, want)
		}
	}
	for _, data := range []string{
		"", "{}", "[]", "null", "<html>", `"x"`, `{"schemaVersion":2}`,
		`{"schemaVersion":1,"fsLayers":[],"manifests":[]}`,
		`{"mediaType":"text/html","config":{},"layers":[]}`,
		`{"schemaVersion":2,"config":{},"layers":[]} trailing`,
		`{"schemaVersion":2,"config":{},"layers":[],"x":"` + strings.Repeat("y", MaxManifest) + `"}`,
	} {
		if m, err := ParseManifest([]byte(data)); !errors.Is(err, errNotManifest) {
			t.Errorf("ParseManifest(%.60s) = %s, %v; want %v", data, m.MediaType, err, errNotManifest)
		}
	}
}

const manifest = `{"schemaVersion":2,"config":{},"layers":[]}`

func TestFindManifest(t *testing.T) {
	d := digest.FromString(manifest)
	wide := digest.SHA512.FromString(manifest)
	other := digest.FromString("other")
	for name, test := range map[string]struct {
		tree  tree
		found []string // references
		not   []string
	}{
		"ours": {
			tree{"app/manifests/1.0": manifest, "app/manifests/" + d.String(): manifest},
			[]string{"1.0", d.String()},
			[]string{"latest", "1", other.String()},
		},
		"image2ipfs": {
			tree{"app/manifests/latest-v2": manifest},
			[]string{"latest", "latest-v2", d.String(), wide.String()},
			[]string{"1.0", other.String()},
		},
		"both": {
			tree{"app/manifests/latest": manifest, "app/manifests/latest-v2": "{}"},
			[]string{"latest"},
			[]string{other.String()},
		},
	} {
		img := Image{Root: cid.MustParse(bafy), Name: "app"}
		for _, reference := range test.found {
			m, err := FindManifest(context.Background(), test.tree, img, reference)
			if err != nil || string(m.Data) != manifest {
				t.Errorf("%s: %s: %v", name, reference, err)
			}
			if IsDigest(reference) && m.Digest.String() != reference {
				t.Errorf("%s: %s is found as %s", name, reference, m.Digest)
			}
		}
		for _, reference := range test.not {
			if _, err := FindManifest(context.Background(), test.tree, img, reference); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %s: %v, want %v", name, reference, err, fs.ErrNotExist)
			}
		}
	}
}

func TestFindManifestChecksTheDigest(t *testing.T) {
	d := digest.FromString("what was asked for")
	lying := tree{"manifests/" + d.String(): manifest}
	m, err := FindManifest(context.Background(), lying, Image{Root: cid.MustParse(bafy)}, d.String())
	if !errors.Is(err, ErrDigest) {
		t.Errorf("%s, %v; want %v", m.Digest, err, ErrDigest)
	}
}

// A failure to look up the alias is not reported as an absence.
func TestFailedAliasesAreNotAbsences(t *testing.T) {
	failed := errors.New("no gateway answers")
	for _, reference := range []string{Latest, digest.FromString(manifest).String()} {
		_, err := FindManifest(context.Background(), failing{tree{}, failed}, Image{Root: cid.MustParse(bafy)}, reference)
		if !errors.Is(err, failed) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

// failing is a tree in which reading latest-v2 fails.
type failing struct {
	tree
	err error
}

func (f failing) ReadFile(ctx context.Context, root cid.Cid, path string, limit int64) ([]byte, error) {
	if strings.HasSuffix(path, latestV2) {
		return nil, f.err
	}
	return f.tree.ReadFile(ctx, root, path, limit)
}

// tree is the files below one root.
type tree map[string]string

func (t tree) ReadFile(_ context.Context, _ cid.Cid, path string, _ int64) ([]byte, error) {
	data, ok := t[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(data), nil
}

func (t tree) ReadDir(_ context.Context, _ cid.Cid, path string) (map[string]cid.Cid, error) {
	if _, isFile := t[path]; isFile {
		return nil, nil
	}
	var entries map[string]cid.Cid
	for file, data := range t {
		if path != "" {
			below, ok := strings.CutPrefix(file, path+"/")
			if !ok {
				continue
			}
			file, data = below, path+data
		}
		if entries == nil {
			entries = map[string]cid.Cid{}
		}
		name, _, _ := strings.Cut(file, "/")
		sum, _ := mh.Sum([]byte(data), mh.SHA2_256, -1)
		entries[name] = cid.NewCidV1(cid.Raw, sum)
	}
	if entries == nil {
		return nil, fs.ErrNotExist
	}
	return entries, nil
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + DockerManifest + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err == nil && strings.ContainsAny(m.MediaType, "\r\n \"") {
			t.Fatalf("a header would be %q", m.MediaType)
		}
	})
}
