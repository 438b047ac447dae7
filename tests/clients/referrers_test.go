package clients

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

const (
	emptyConfig   = "application/vnd.oci.empty.v1+json"
	signatureType = "application/vnd.example.signature"
	sbomType      = "application/vnd.example.sbom"
	vexType       = "application/vnd.example.vex"
)

// A signed is an image in two versions. The first version has referrers: a signature and
// a bill of materials that name it as their subject, a statement in an index under the
// referrers tag, which clients use for registries without a referrers API, and a
// signature under the tag that cosign uses.
type signed struct {
	archive                   string
	v1, v2                    harness.OCIDescriptor
	config                    string // the digest of the config of both versions
	layers                    []harness.OCIDescriptor
	signature, sbom, vex, sig harness.OCIDescriptor
	tags                      []string
}

func newSigned(t *testing.T) signed {
	t.Helper()
	img := harness.DockerImage(t)
	layout := harness.NewOCILayout(t)
	a := harness.ReadArchive(t, img.Archive)
	s := signed{config: img.ID}
	for _, layer := range a.Saved(t).Layers {
		s.layers = append(s.layers, layout.Blob(harness.OCILayer, harness.Gzipped(t, a.File(t, layer))))
	}
	version := func(n string) harness.OCIDescriptor {
		return layout.Manifest(harness.OCIManifest, map[string]any{
			"config":      layout.Blob(harness.OCIConfig, a.File(t, a.Saved(t).Config)),
			"layers":      s.layers,
			"annotations": map[string]string{"org.opencontainers.image.version": n},
		})
	}
	s.v1, s.v2 = version("1"), version("2")
	about := func(kind, content string, subject any) harness.OCIDescriptor {
		fields := map[string]any{
			"artifactType": kind,
			"config":       layout.Blob(emptyConfig, []byte("{}")),
			"layers":       []harness.OCIDescriptor{layout.Blob(kind, []byte(content))},
			"annotations":  map[string]string{"org.example.says": content},
		}
		if subject != nil {
			fields["subject"] = subject
		}
		return layout.Manifest(harness.OCIManifest, fields)
	}
	s.signature, s.sbom = about(signatureType, "signed", s.v1), about(sbomType, "contents", s.v1)
	s.vex, s.sig = about(vexType, "harmless", s.v1), about(signatureType, "signed by cosign", nil)
	fallback := layout.Manifest(harness.OCIIndex, map[string]any{"manifests": []any{map[string]any{
		"mediaType": s.vex.MediaType, "digest": s.vex.Digest, "size": s.vex.Size, "artifactType": vexType,
	}}})
	schema := strings.Replace(s.v1.Digest, ":", "-", 1)
	s.tags = []string{schema, schema + ".sig", "v1", "v2"}
	var index []harness.OCIDescriptor
	for i, d := range []harness.OCIDescriptor{fallback, s.sig, s.v1, s.v2} {
		index = append(index, d.Named(harness.ImageName+":"+s.tags[i]))
	}
	s.archive = layout.Write(t, append(index, s.signature, s.sbom)...)
	return s
}

// atOneRoot converts an archive of several images, which get one root, and returns the
// repository of ImageName.
func atOneRoot(t *testing.T, caddy *harness.Caddy, archive string, args ...string) (ref string) {
	t.Helper()
	for line := range strings.Lines(harness.Run(t, harness.Converter(t, archive, append(args, "--registry="+caddy.URL)...))) {
		ref = strings.TrimSpace(line)
	}
	address := strings.Split(ref, "/")[1]
	return caddy.Host() + "/" + address + "/" + harness.ImageName
}

// onBoth runs a test twice: with the images in a store, and on a Kubo node.
func onBoth(t *testing.T, archive string, test func(t *testing.T, ref string)) {
	t.Helper()
	t.Run("store", func(t *testing.T) {
		harness.Parallel(t)
		store := t.TempDir()
		caddy := harness.NewCaddy(t, fmt.Sprintf("ipfs_registry {\nstore %s\n}", store))
		test(t, atOneRoot(t, caddy, archive, "--store="+store))
	})
	t.Run("kubo", func(t *testing.T) {
		harness.Parallel(t)
		kubo := harness.NewKubo(t)
		caddy := harness.NewCaddy(t, "ipfs_registry "+kubo.Gateway)
		test(t, atOneRoot(t, caddy, archive, "--ipfs-api="+kubo.API))
	})
}

// Oras and regctl find an image's referrers and pull them by type, both those that name
// their subject and those under the referrers tag. Every client lists the right tags.
func TestClientsFindReferrers(t *testing.T) {
	harness.Parallel(t)
	harness.Need(t, "bin/oras")
	s := newSigned(t)
	onBoth(t, s.archive, func(t *testing.T, ref string) {
		oras := func(args ...string) string {
			return harness.Run(t, exec.Command(harness.InRepo("bin/oras"), append(args, "--plain-http")...))
		}
		regctl := harness.NewRegctl(t, ref)
		var found struct {
			Manifests []struct{ Digest, ArtifactType string }
		}
		if err := json.Unmarshal([]byte(oras("discover", "--format=json", ref+":v1")), &found); err != nil {
			t.Fatal(err)
		}
		kinds := map[string]string{}
		for _, m := range found.Manifests {
			kinds[m.Digest] = m.ArtifactType
		}
		for d, kind := range map[string]string{s.signature.Digest: signatureType, s.sbom.Digest: sbomType, s.vex.Digest: vexType} {
			if kinds[d] != kind || len(kinds) != 3 {
				t.Errorf("oras discovers %v, want %s of type %s and two more", kinds, d, kind)
			}
			got := regctl("artifact", "list", "--filter-artifact-type="+kind, "--format={{range .Descriptors}}{{.Digest}} {{end}}", ref+":v1")
			if strings.TrimSpace(got) != d {
				t.Errorf("of type %s, regctl lists %q, want %s", kind, got, d)
			}
		}
		if got := regctl("artifact", "get", "--subject="+ref+":v1", "--filter-artifact-type="+sbomType); got != "contents" {
			t.Errorf("regctl gets %q for the bill of materials", got)
		}
		dir := t.TempDir()
		harness.Run(t, exec.Command(harness.InRepo("bin/oras"), "blob", "fetch", "--plain-http", "--output="+dir+"/blob", ref+"@"+harness.DigestOf([]byte("signed"))))
		if got := harness.ReadFile(t, dir+"/blob"); got != "signed" {
			t.Errorf("oras fetches %q for the signature", got)
		}
		for _, nothing := range []string{":v2", "@" + s.sbom.Digest} {
			var found struct{ Manifests []any }
			if err := json.Unmarshal([]byte(oras("discover", "--format=json", ref+nothing)), &found); err != nil || len(found.Manifests) > 0 {
				t.Errorf("%s has no referrers, but oras discovers %v, %v", nothing, found, err)
			}
		}

		tags := strings.Join(s.tags, "\n") + "\n"
		if got := oras("repo", "tags", ref); got != tags {
			t.Errorf("oras lists the tags %q, want %q", got, tags)
		}
		if got := regctl("tag", "ls", "--limit=1", ref); got != s.tags[0]+"\n" {
			t.Errorf("regctl lists %q as the first tag, want %q", got, s.tags[0])
		}
		if got := regctl("tag", "ls", ref); got != tags {
			t.Errorf("regctl lists the tags %q, want %q", got, tags)
		}
		if got := strings.Fields(harness.Run(t, exec.Command("skopeo", "inspect", "--tls-verify=false", "--format={{.RepoTags}}", "docker://"+ref+":v1"))); len(got) != len(s.tags) {
			t.Errorf("skopeo lists the tags %v", got)
		}
	})
}
