package manifest

import (
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
)

// maxSteps is how many descriptors a Graph follows, however often the same one.
const maxSteps = 1 << 18

// MaxNesting is how many indexes may name one another. Two are in use.
const MaxNesting = 8

// ErrNesting is the error for indexes that are nested deeper than MaxNesting.
var ErrNesting = fmt.Errorf("more than %d indexes name one another", MaxNesting)

// A MissingError is the error for a manifest or blob that is named and not there.
type MissingError struct {
	What  string // a path, digest or file name
	Where string
}

func (e *MissingError) Error() string { return e.What + " is not in " + e.Where }

// IsMissing reports whether err says that something named is not there.
func IsMissing(err error) bool {
	_, is := errors.AsType[*MissingError](err)
	return is
}

// A Graph reads manifests by the descriptors that name them, each once, and keeps
// them. It is bounded in memory and in work. It is not safe for concurrent use.
type Graph struct {
	read   func(v1.Descriptor) ([]byte, error)
	nodes  map[digest.Digest]*Node
	memory int
	steps  int
}

// NewGraph returns a graph of the manifests that read returns. Where there is no such
// manifest, read returns a MissingError.
func NewGraph(read func(v1.Descriptor) ([]byte, error)) *Graph {
	return &Graph{read: read, nodes: map[digest.Digest]*Node{}}
}

// Node returns the manifest or index of a descriptor. It fails where the digest or the
// size is not that of the descriptor. The node's own digest is always a sha256.
func (g *Graph) Node(d v1.Descriptor) (*Node, error) {
	if n, known := g.nodes[d.Digest]; known && int64(len(n.Data)) == d.Size {
		return n, nil
	}
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	data, err := g.read(d)
	if err != nil {
		return nil, err
	}
	n, err := parseAs(d, data)
	if err != nil {
		return nil, err
	}
	if g.memory += n.Memory(); g.memory > MaxMemory {
		return nil, fmt.Errorf("the manifests take more than %d bytes of memory", MaxMemory)
	}
	g.nodes[d.Digest] = n
	return n, nil
}

func parseAs(d v1.Descriptor, data []byte) (*Node, error) {
	if int64(len(data)) != d.Size {
		return nil, fmt.Errorf("manifest %s has %d bytes, and its descriptor says %d", d.Digest, len(data), d.Size)
	}
	if got := d.Digest.Algorithm().FromBytes(data); got != d.Digest {
		return nil, fmt.Errorf("manifest %s has the digest %s", d.Digest, got)
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	return Parse(m)
}

// A Step is one manifest or index on a walk.
type Step struct {
	*Node
	Descriptor v1.Descriptor // by which it was named
	Depth      int           // 0 for the manifest at which the walk begins

	// Below is what an index names, each digest once.
	Below []Below
}

// Below is what an index names.
type Below struct {
	v1.Descriptor
	Node *Node // nil for a blob and for what is missing

	// Missing is the error of read or visit that says that the manifest, or what
	// it leads to, is not there; or nil.
	Missing error
}

// Walk calls visit for every manifest and index below d, and for d last: those that
// an index names before the index. Each is visited once, even if it is named
// several times.
//
// A manifest is missing, for the index that names it, where read or visit return a
// MissingError. Any other error ends the walk. If d itself is missing, Walk returns
// that MissingError.
func (g *Graph) Walk(d v1.Descriptor, visit func(Step) error) error {
	return g.walk(d, visit, IsManifest)
}

// WalkIndexes is Walk for indexes alone. It does not read the other manifests that
// they name: the Node of these is nil.
func (g *Graph) WalkIndexes(d v1.Descriptor, visit func(Step) error) error {
	return g.walk(d, visit, func(d v1.Descriptor) bool { return IsIndexType(d.MediaType) })
}

func (g *Graph) walk(d v1.Descriptor, visit func(Step) error, leads func(v1.Descriptor) bool) error {
	w := walk{g, visit, leads, map[digest.Digest]Below{}}
	_, err := w.follow(d, 0)
	return err
}

type walk struct {
	*Graph
	visit func(Step) error
	leads func(v1.Descriptor) bool // whether to follow what an index names
	seen  map[digest.Digest]Below
}

func (w *walk) follow(d v1.Descriptor, depth int) (*Node, error) {
	n, err := w.Node(d)
	if err != nil {
		return nil, err
	}
	step := Step{Node: n, Descriptor: d, Depth: depth}
	if n.IsIndex() {
		if step.Below, err = w.below(n, depth); err != nil {
			return n, err
		}
	}
	return n, w.visit(step)
}

func (w *walk) below(index *Node, depth int) ([]Below, error) {
	if depth >= MaxNesting {
		return nil, ErrNesting
	}
	var all []Below
	named := map[digest.Digest]bool{}
	for _, d := range index.Manifests {
		if w.steps++; w.steps > maxSteps {
			return nil, fmt.Errorf("the indexes name more than %d manifests", maxSteps)
		}
		if named[d.Digest] {
			continue
		}
		named[d.Digest] = true
		b, seen := w.seen[d.Digest]
		if !seen && w.leads(d) {
			var err error
			if b.Node, err = w.follow(d, depth+1); err != nil && !IsMissing(err) {
				return nil, err
			}
			b.Missing = err
			w.seen[d.Digest] = b
		}
		b.Descriptor = d
		all = append(all, b)
	}
	return all, nil
}
