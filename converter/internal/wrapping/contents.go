package wrapping

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Contents are what the names in a tar tell of the sort of archive that it is.
type Contents struct {
	image     bool            // a name at the top that only archives of images have
	roots     map[string]bool // directories of a file system, as `docker export` has them
	folder    string          // in which everything is so far, or empty
	scattered bool            // there is more than one such folder
	archives  []string        // entries that are archives themselves, the first few
	legacy    bool            // the list of images of before Docker 1.10
}

// documents are files by which an archive of images is known.
var documents = []string{"manifest.json", "index.json", "oci-layout"}

// fileSystem are directories in which an operating system has its files.
var fileSystem = []string{
	"bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt",
	"proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
}

const (
	enoughRoots = 3 // of these make a file system
	maxArchives = 3 // are named in an error
)

// Add adds the clean name of an entry. It fails at the first name by which the archive
// is known to hold no images, so that the rest need not be read.
func (c *Contents) Add(name string) error {
	if isLitter(name) {
		return nil
	}
	c.legacy = c.legacy || name == "repositories"
	if c.image {
		return nil
	}
	first, below, _ := strings.Cut(name, "/")
	if isDocument(name) || isOfImage(name) {
		c.image = true
		return nil
	}
	if isArchive(name) && len(c.archives) < maxArchives {
		c.archives = append(c.archives, name)
	}
	if err := c.addRoot(first); err != nil {
		return err
	}
	return c.addFolder(first, below)
}

// isLitter reports whether macOS added an entry to the ones that were packed.
func isLitter(name string) bool {
	base := path.Base(name)
	return name == "." || strings.HasPrefix(base, "._") || base == ".DS_Store" || strings.HasPrefix(name, "__MACOSX/")
}

func isDocument(name string) bool { return slices.Contains(documents, name) }

// isOfImage reports whether a name is that of a blob of an OCI layout, or of a layer of
// Docker's.
func isOfImage(name string) bool {
	parts := strings.Split(name, "/")
	return parts[0] == "blobs" || len(parts) == 2 && isHex(parts[0]) && slices.Contains([]string{"VERSION", "json", "layer.tar"}, parts[1])
}

func isHex(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

func isArchive(name string) bool {
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// errExport is the error for the files of a container.
var errExport = &NotImagesError{
	"the input holds the files of a container, as `docker export` writes them, and no image",
	"save the image with `docker save IMAGE`, or make an image of the container with `docker commit` first",
}

func (c *Contents) addRoot(first string) error {
	if first == ".dockerenv" {
		return errExport
	}
	if !slices.Contains(fileSystem, first) {
		return nil
	}
	if c.roots == nil {
		c.roots = map[string]bool{}
	}
	if c.roots[first] = true; len(c.roots) == enoughRoots {
		return errExport
	}
	return nil
}

// addFolder fails at the first part of an image that is in a folder, if everything
// before was in that folder too.
func (c *Contents) addFolder(first, below string) error {
	if c.folder == "" {
		c.folder = first
	}
	c.scattered = c.scattered || first != c.folder
	if c.scattered {
		return nil
	}
	folder := first
	for !isDocument(below) && !isOfImage(below) {
		next, rest, nested := strings.Cut(below, "/")
		if !nested {
			return nil
		}
		folder, below = path.Join(folder, next), rest
	}
	folder = fmt.Sprintf("%.200q", folder)
	return &WrappedError{"the archive has the image in the folder " + folder, "tar -C " + folder + " -c ."}
}

// Explain returns the error for an archive that has been read to its end and has neither
// index.json nor manifest.json.
func (c *Contents) Explain() error {
	switch {
	case c.legacy:
		return &NotImagesError{
			"the archive is in the format of before Docker 1.10",
			"load it with `docker load` into a Docker before 29, and save it again with `docker save IMAGE`",
		}
	case len(c.archives) == 1 && !c.image:
		return &WrappedError{"the archive has neither manifest.json nor index.json, but holds another one", fmt.Sprintf("tar -xOf FILE %.200q", c.archives[0])}
	case len(c.archives) > 1 && !c.image:
		return &WrappedError{"the archive has neither manifest.json nor index.json, but holds other archives, to be read one at a time", fmt.Sprintf("tar -xOf FILE %.200q", c.archives[0])}
	}
	return &NotImagesError{What: "the input is no image archive, or ends early: it has neither manifest.json nor index.json"}
}
