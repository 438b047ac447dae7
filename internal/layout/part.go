package layout

import "path"

// A Part is what a file is to an image.
type Part int

// The parts, of which an image has a directory each.
const (
	Other    Part = iota // to no image anything
	Document             // a manifest or index
	Content              // a config or layer
	About                // an index of referrers
)

// latestV1 is where image2ipfs kept a second manifest, for Docker before 1.10.
const latestV1 = "latest-v1"

// Split returns the name of the image that the file at a path is part of, which
// part it is, and what it is called there.
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
