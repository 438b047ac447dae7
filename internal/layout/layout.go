// Package layout knows where the parts of an image are inside its directory on
// IPFS, and what they are called.
//
// Format 1, which the converter writes:
//
//	<name>/manifests/<tag>            a manifest or index, the bytes that its digest covers
//	<name>/manifests/sha256:<hex>     every manifest, those of an index's platforms included
//	<name>/manifests/latest           alias, when there is one manifest and no such tag
//	<name>/manifests/latest-v2        the same for image2ipfs servers, of a Docker manifest
//	<name>/blobs/sha256:<hex>         configs and layers
//	<name>/referrers/sha256:<hex>     an index of the manifests whose subject that is
//
// <name> is the repository without its registry host and may have slashes, or
// be empty. Aliases are equal files, hence equal blocks, and cost nothing.
//
// The tree needs no server of its own: it is an OCI distribution read-only
// endpoint as files, so that plain HTTP gateways can serve its blobs.
//
// Others have put images on IPFS in forms of their own, which are read as well.
// Which one an image has, Detect finds out where the first look found nothing:
//
//	manifests/latest-v2 alone         image2ipfs, and ipdr before 0.1.7
//	index.json, blobs/sha256/<hex>    OCI layouts: skopeo, docker save, oci-registry-p2p
//	disco.json, _manifests/           disco
//	a file with a descriptor          nerdctl and stargz-snapshotter
//	a file with a manifest            gantry
//
// What is read is whoever's who published it: all of it is bounded, and manifests
// have the digest that they are asked for by, or are not returned.
package layout

import (
	"path"

	"github.com/opencontainers/go-digest"
)

const (
	manifests = "manifests"
	blobs     = "blobs"
	referrers = "referrers"

	// Latest is the tag that clients ask for where none was given.
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

// LatestNames returns the names below manifests by which a manifest of that
// media type is found when no tag is given: latest, and latest-v2 for image2ipfs
// servers, which know Docker's manifests only.
func LatestNames(mediaType string) []string {
	if mediaType == DockerManifest {
		return []string{Latest, latestV2}
	}
	return []string{Latest}
}
