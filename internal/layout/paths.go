package layout

import (
	"path"

	"github.com/opencontainers/go-digest"
)

const (
	manifests = "manifests"
	blobs     = "blobs"
	referrers = "referrers"

	// Latest is the tag that clients ask for if the user names none.
	Latest = "latest"

	// latestV2 is where image2ipfs keeps its only manifest.
	latestV2 = "latest-v2"
)

// ManifestPath returns where an image keeps the manifest of a tag or digest.
func ManifestPath(name, reference string) string { return path.Join(name, manifests, reference) }

// ManifestPaths returns where FindManifest looks for the manifest of a tag or
// digest.
func ManifestPaths(name, reference string) []string {
	paths := []string{ManifestPath(name, reference)}
	if reference == Latest || IsDigest(reference) {
		paths = append(paths, ManifestPath(name, latestV2))
	}
	return paths
}

// BlobPath returns where an image keeps a config or layer.
func BlobPath(name string, d digest.Digest) string { return path.Join(name, blobs, d.String()) }

// ReferrersPath returns where an image keeps the index of a manifest's referrers.
func ReferrersPath(name string, d digest.Digest) string {
	return path.Join(name, referrers, d.String())
}

// FallbackPath returns where clients without the referrers API keep that index.
func FallbackPath(name string, d digest.Digest) string { return ManifestPath(name, fallbackTag(d)) }

// LatestNames returns the names below manifests by which a manifest of that media type is
// found when the user names no tag: latest, and, of Docker's manifests, latest-v2 for
// image2ipfs servers.
func LatestNames(mediaType string) []string {
	if mediaType == DockerManifest {
		return []string{Latest, latestV2}
	}
	return []string{Latest}
}

// ManifestsDir returns where an image keeps what ManifestPath names.
func ManifestsDir(name string) string { return path.Join(name, manifests) }

// BlobsDir is ManifestsDir for blobs.
func BlobsDir(name string) string { return path.Join(name, blobs) }

// ReferrersDir is ManifestsDir for indexes of referrers.
func ReferrersDir(name string) string { return path.Join(name, referrers) }

// IsReferrersPath reports whether a path is that of an index of referrers.
func IsReferrersPath(p string) bool { return path.Base(path.Dir(p)) == referrers }

// IsBlobPath reports whether a path is neither that of a manifest nor that of an index of
// referrers, but of a config, a layer, or a file that layout does not know.
func IsBlobPath(p string) bool {
	dir := path.Base(path.Dir(p))
	return dir != manifests && dir != referrers
}

// A Part is the kind of a file in an image's directory.
type Part int

// The parts. An image has a directory for each but Other.
const (
	Other    Part = iota // no part of an image
	Document             // a manifest or index
	Content              // a config or layer
	About                // an index of referrers
)

// latestV1 is where image2ipfs kept a second manifest, for Docker before 1.10.
const latestV1 = "latest-v1"

// Split returns the name of the image that the file at a path is part of, the kind of
// part, and the name of the file.
func Split(p string) (name string, part Part, file string) {
	dir, file := path.Split(p)
	name, of := path.Split(path.Clean(dir))
	switch {
	case of == manifests && file != latestV1:
		part = Document
	case of == blobs:
		part = Content
	case of == referrers:
		part = About
	default:
		return "", Other, file
	}
	return path.Clean("/" + name)[1:], part, file
}

// IsPartsDir reports whether a directory is one of the three of an image.
func IsPartsDir(dir string) bool {
	_, part, _ := Split(path.Join(dir, "-"))
	return part != Other
}
