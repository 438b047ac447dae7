package source

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

// files are the files and links of an archive, by path, as they would be if it were
// unpacked: where a path occurs again, the later entry counts.
type files struct {
	contents map[string]*blob.Content
	links    map[string]link

	// backslashed maps the paths that have backslashes, as an archiver on Windows
	// writes them, from the paths that are meant.
	backslashed map[string]string
}

// A link leads to another path in the archive.
type link struct {
	target  string
	outside bool // the target is not in the archive
}

const (
	maxEntries = 1 << 16 // files and links, all of which are kept in memory
	maxPath    = 1 << 10 // bytes of a path
	maxLinks   = 8       // links that follow one another; Docker writes one
)

func newFiles() files {
	return files{map[string]*blob.Content{}, map[string]link{}, map[string]string{}}
}

// reserve makes room for an entry, in the place of an earlier one at that path.
func (f *files) reserve(name string) error {
	if c := f.contents[name]; c != nil {
		c.Remove()
	}
	delete(f.contents, name)
	delete(f.links, name)
	if len(f.contents)+len(f.links) >= maxEntries {
		return fmt.Errorf("more than %d files and links, which no image has", maxEntries)
	}
	if meant := slashed(name); meant != name {
		f.backslashed[meant] = name
	}
	return nil
}

// slashed returns a path with slashes in place of backslashes.
func slashed(name string) string { return path.Clean(strings.ReplaceAll(name, `\`, "/")) }

// find returns the content at a path, through links. It returns nil where there is
// none, and an error where a link leads out of the archive.
func (f *files) find(name string) (*blob.Content, error) {
	at := path.Clean(strings.TrimLeft(name, "/"))
	c, err := f.follow(at)
	if c != nil || err != nil {
		return c, err
	}
	meant := slashed(at)
	if other, ok := f.backslashed[meant]; ok {
		return f.follow(other)
	}
	if meant != at {
		return f.follow(meant)
	}
	return nil, nil
}

func (f *files) follow(at string) (*blob.Content, error) {
	for range maxLinks {
		if c := f.contents[at]; c != nil {
			return c, nil
		}
		l, rest, found := f.linkTo(at)
		switch {
		case !found:
			return nil, nil
		case l.outside:
			return nil, fmt.Errorf("%q is a link that leads out of the archive, to %q: pack what it leads to, as `tar -h` does", at, l.target)
		}
		at = path.Join(l.target, rest)
	}
	return nil, nil
}

// linkTo returns the link at a path or at a directory above it, and the path below.
func (f *files) linkTo(at string) (l link, rest string, found bool) {
	if len(f.links) == 0 {
		return link{}, "", false
	}
	for dir := at; ; {
		if l, found := f.links[dir]; found {
			return l, rest, true
		}
		up, file := path.Split(dir)
		if up == "" {
			return link{}, "", false
		}
		dir, rest = path.Clean(up), path.Join(file, rest)
	}
}

// errOutside is the error for a path that leads out of the archive.
var errOutside = errors.New("the path leads out of the archive")

// entryPath returns where an entry would be unpacked.
func entryPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("a path of more than %d bytes", maxPath)
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errOutside
	}
	return clean, nil
}
