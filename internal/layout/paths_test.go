package layout

import "testing"

func TestSplit(t *testing.T) {
	for p, want := range map[string]struct {
		name string
		part Part
		file string
	}{
		"team/app/manifests/v1":      {"team/app", Document, "v1"},
		"manifests/sha256:00":        {"", Document, "sha256:00"},
		"app/manifests/latest-v1":    {"", Other, "latest-v1"},
		"app/blobs/sha256:00":        {"app", Content, "sha256:00"},
		"app/referrers/sha256:00":    {"app", About, "sha256:00"},
		"blobs/app/manifests/latest": {"blobs/app", Document, "latest"},
		"manifests":                  {"", Other, "manifests"},
		"app/v1":                     {"", Other, "v1"},
	} {
		if name, part, file := Split(p); name != want.name || part != want.part || file != want.file {
			t.Errorf("%s is %q, %d, %q; want %v", p, name, part, file, want)
		}
	}
	for dir, want := range map[string]bool{"app/blobs": true, "manifests": true, "app": false, "": false, "blobs/app": false} {
		if IsPartsDir(dir) != want {
			t.Errorf("%q is a directory of parts: %v", dir, !want)
		}
	}
}
