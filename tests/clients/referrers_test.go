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

// A signed is an image in two versions, of which the first has what is about it:
// a signature and a bill of materials that name it as their subject, a statement
// that an index has which is tagged as by clients of registries that know of no
// subjects, and a signature that is tagged as cosign does.
type signed struct {
	archive                   string
	v1, v2                    harness.OCIDescriptor
	config                    string // the digest of the one that both have
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

// atOneRoot converts an archive of several images, which are below one root, and
// gives back the repository of the test's image.
func atOneRoot(t *testing.T, caddy *harness.Caddy, archive string, args ...string) (ref string) {
	t.Helper()
	for line := range strings.Lines(harness.Run(t, harness.Converter(t, archive, append(args, "--registry="+caddy.URL)...))) {
		ref = strings.TrimSpace(line)
	}
	address := strings.Split(ref, "/")[1]
	return caddy.Host() + "/" + address + "/" + harness.ImageName
}

// onBoth runs a test with the images in a store and again on a Kubo node.
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

// Oras and regctl find and pull an image's referrers by type, whether they name their
// subject or stand under a fallback tag.
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
				t.Errorf("oras discovers %v, not %s of type %s", kinds, d, kind)
			}
			got := regctl("artifact", "list", "--filter-artifact-type="+kind, "--format={{range .Descriptors}}{{.Digest}} {{end}}", ref+":v1")
			if strings.TrimSpace(got) != d {
				t.Errorf("of type %s, regctl lists %q, not %s", kind, got, d)
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
				t.Errorf("oras discovers %v, %v", found, err)
			}
		}

		tags := strings.Join(s.tags, "\n") + "\n"
		if got := oras("repo", "tags", ref); got != tags {
			t.Errorf("oras lists the tags %q, not %q", got, tags)
		}
		if got := regctl("tag", "ls", "--limit=1", ref); got != s.tags[0]+"\n" {
			t.Errorf("regctl lists %q for the first tag", got)
		}
		if got := regctl("tag", "ls", ref); got != tags {
			t.Errorf("regctl lists the tags %q, not %q", got, tags)
		}
		if got := strings.Fields(harness.Run(t, exec.Command("skopeo", "inspect", "--tls-verify=false", "--format={{.RepoTags}}", "docker://"+ref+":v1"))); len(got) != len(s.tags) {
			t.Errorf("skopeo lists the tags %v", got)
		}
	})
}
