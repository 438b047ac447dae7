// Package oddarchive makes image archives for tests, each odd in one way in which
// real tools write archives, or in which real people damage them, and says what the
// converter must make of each.
//
// The archives are the same bytes every time. Each image holds one small program for
// linux/amd64 that prints the name of the image, so running a pulled image shows
// whether the right one came through.
package oddarchive

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Case is a folder with one odd input, and the calls of the converter that read it.
type Case struct {
	Name string // says what is odd
	Runs []Run

	// OddLayers says that the layers or the config are odd, and not only the archive
	// around them, so that clients may differ in what they make of the image.
	OddLayers bool

	files []file
	trees []tree
}

// A Run is one call of the converter. "{d}" in Args and Stdin stands for the folder
// of the case.
type Run struct {
	Args  []string
	Stdin string // the file on standard input; none if empty
	Want  Want
}

// Want is the result that a call of the converter must have.
type Want struct {
	// Refused says that the converter must exit with 1 and one line that contains
	// each of Says. Otherwise it must exit with 0, and say each of Says as a note.
	Refused bool
	Says    []string

	// Configs are the digests of the configs of all images that must come out. Nil
	// means that the result holds no image, such as an index of blobs.
	Configs []string

	// References are the names and tags that must be printed, as "name:tag". Nil means
	// that any will do.
	References []string

	// Kept says that every blob must have the bytes that it has in the input.
	Kept bool

	// Pullable lists the clients that can pull the result: "docker" (20.10), "podman"
	// (4.3) and "skopeo". A client that is left out refuses such an image from every
	// registry. Nil means that all three can pull it.
	Pullable []string
}

// Taken is the want of a call that puts these images into the store.
func Taken(configs ...string) Want { return Want{Configs: configs} }

// Refused is the want of a call that fails with a message of these words.
func Refused(says ...string) Want { return Want{Refused: true, Says: says} }

// AsIs adds that every blob keeps its bytes.
func (w Want) AsIs() Want { w.Kept = true; return w }

// Noting adds words that a note must contain.
func (w Want) Noting(says ...string) Want { w.Says = append(slices.Clone(w.Says), says...); return w }

// Named adds the references that must be printed.
func (w Want) Named(references ...string) Want { w.References = references; return w }

// PulledBy adds which clients can pull the result.
func (w Want) PulledBy(clients ...string) Want {
	w.Pullable = append([]string{}, clients...)
	return w
}

type file struct {
	name string
	data []byte
}

type tree struct {
	name    string
	entries []entry
}

func newCase(name string) *Case { return &Case{Name: name} }

// file adds a file to the folder.
func (c *Case) file(name string, data []byte) *Case {
	c.files = append(c.files, file{name, data})
	return c
}

// tree adds a directory of files and links to the folder.
func (c *Case) tree(name string, entries []entry) *Case {
	c.trees = append(c.trees, tree{name, entries})
	return c
}

// layout adds an OCI layout as the directory l and as the archive a.tar.
func (c *Case) layout(entries []entry) *Case {
	return c.tree("l", entries).file("a.tar", tarOf(entries))
}

// run adds a call of the converter.
func (c *Case) run(want Want, args ...string) *Case {
	c.Runs = append(c.Runs, Run{Args: args, Want: want})
	return c
}

// pipe adds a call of the converter with a file of the folder on standard input.
func (c *Case) pipe(want Want, stdin string, args ...string) *Case {
	c.Runs = append(c.Runs, Run{Args: args, Stdin: stdin, Want: want})
	return c
}

// Write writes the input of the case into an empty directory.
func (c *Case) Write(dir string) error {
	for _, f := range c.files {
		if err := writeFile(filepath.Join(dir, f.name), f.data); err != nil {
			return err
		}
	}
	for _, t := range c.trees {
		for _, e := range t.entries {
			if err := e.write(filepath.Join(dir, t.name, filepath.FromSlash(e.name))); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e entry) write(path string) error {
	if e.link == "" {
		return writeFile(path, e.data)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Symlink(e.link, path)
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// In returns an argument with the folder of the case put in.
func In(dir, arg string) string { return strings.ReplaceAll(arg, "{d}", dir) }

// Cases returns all cases.
func Cases() []*Case {
	layers := slices.Concat(artifactCases(), diffIDCases(), sparseCases(), layerTarCases(), layerEndCases(), layerCountCases(), layerTypeCases())
	for _, c := range layers {
		c.OddLayers = true
	}
	return slices.Concat(layers,
		compressionCases(), trailingCases(), mangledCases(), foreignCases(),
		nameCases(), choiceCases(), builderCases(), documentCases(), entryCases(), inputCases())
}
