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
// <name> is the repository without its registry host; it may have slashes, or be empty.
// Aliases are equal files, hence equal blocks, and cost nothing.
//
// The tree needs no server of its own: it is a read-only endpoint of the OCI
// distribution protocol as files, so plain HTTP gateways can serve its blobs.
//
// Others have put images on IPFS in forms of their own, which are read as well. If an
// image is not found in the first place, Detect finds out which form it has:
//
//	manifests/latest-v2 alone         image2ipfs, and ipdr before 0.1.7
//	index.json, blobs/sha256/<hex>    OCI layouts: skopeo, docker save, oci-registry-p2p
//	disco.json, _manifests/           disco
//	a file with a descriptor          nerdctl and stargz-snapshotter
//	a file with a manifest            gantry
//
// Anybody can publish, so every read is bounded, and a manifest that does not have the
// digest that was asked for is never returned.
package layout
