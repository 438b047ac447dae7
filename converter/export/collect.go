package export

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/internal/ocilayout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/origin"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/platform"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/manifest"
)

// A collector finds everything that belongs into an archive, and checks manifests and
// configs on the way.
type collector struct {
	from     origin.Origin
	root     cid.Cid
	platform *platform.Platform // see Options
	logf     func(format string, args ...any)

	archive archive
	configs map[digest.Digest]readConfig
	listed  map[digest.Digest]bool // in the archive's index

	name string // of the images that are being collected
	dir  *nameDir
}

func newCollector(from origin.Origin, root cid.Cid, wanted *platform.Platform, logf func(format string, args ...any)) *collector {
	return &collector{
		from: from, root: root, platform: wanted, logf: logf,
		archive: newArchive(), configs: map[digest.Digest]readConfig{}, listed: map[digest.Digest]bool{},
	}
}

// address returns the root as image names spell it.
func (c *collector) address() string { return origin.Address(c.root) }

// A nameDir is the directory of the images of one name, and what was collected of it.
type nameDir struct {
	*origin.NameDir
	visited map[digest.Digest][]dockerImage // what Docker's list could name for a manifest
}

// open returns the directory of a name. It remembers the last one.
func (c *collector) open(ctx context.Context, name string) (*nameDir, error) {
	if c.dir != nil && c.name == name {
		return c.dir, nil
	}
	dir, err := c.from.NameDir(ctx, c.root, name)
	if err != nil {
		return nil, err
	}
	c.name, c.dir = name, &nameDir{dir, map[digest.Digest][]dockerImage{}}
	return c.dir, nil
}

// add collects an image and everything that it names, as far as the root has it.
func (c *collector) add(ctx context.Context, img origin.Image) error {
	dir, err := c.open(ctx, img.Name)
	if err != nil {
		return err
	}
	dir.Add(img)
	top := img.Descriptor()
	if c.platform != nil {
		if top, err = c.choose(ctx, dir, top); err != nil {
			return err
		}
	}
	if err := c.addManifest(ctx, dir, top); err != nil {
		return err
	}
	name, err := exportedName(img)
	if err != nil {
		return err
	}
	images := dir.visited[top.Digest]
	top.Annotations = name.annotations()
	c.archive.index.Manifests = append(c.archive.index.Manifests, top)
	c.listed[top.Digest] = true
	if !c.archive.list(images, name) {
		c.logf("%s has no image for this machine, so Docker's classic image store will find none: choose one of its platforms, %s", img, platformList(platforms(images)))
	}
	return nil
}

// choose returns the manifest for the wanted platform. A manifest that is not an index
// must be for that platform; an artifact is for all.
func (c *collector) choose(ctx context.Context, dir *nameDir, top v1.Descriptor) (v1.Descriptor, error) {
	m, err := dir.Graph.Node(top)
	if err != nil {
		return top, err
	}
	if m.IsIndex() {
		return chooseBelow(dir.Graph, top, *c.platform)
	}
	config, err := c.addConfig(ctx, dir, m)
	if config == nil || err != nil {
		return top, err
	}
	if p := platform.From(config.Platform); !p.Serves(*c.platform) {
		return top, fmt.Errorf("the image is for %s, and not for %s", p, c.platform)
	}
	return top, nil
}

// addManifest collects a manifest or index, everything that it leads to, and all
// referrers.
func (c *collector) addManifest(ctx context.Context, dir *nameDir, top v1.Descriptor) error {
	todo := []v1.Descriptor{top}
	for ; len(todo) > 0; todo = todo[1:] {
		if _, done := dir.visited[todo[0].Digest]; done {
			continue
		}
		err := dir.Graph.Walk(todo[0], func(s manifest.Step) error {
			if _, done := dir.visited[s.Descriptor.Digest]; done {
				return nil
			}
			images, err := c.visit(ctx, dir, s)
			if err != nil {
				return err
			}
			dir.visited[s.Descriptor.Digest] = images
			referrers, err := c.referrers(ctx, dir, s.Descriptor.Digest)
			todo = append(todo, referrers...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// visit collects a manifest and its blobs. It returns the images that Docker's list
// could name for it.
func (c *collector) visit(ctx context.Context, dir *nameDir, s manifest.Step) ([]dockerImage, error) {
	if err := c.archive.addDocument(s.Descriptor.Digest, s.Data); err != nil {
		return nil, err
	}
	if s.IsIndex() {
		return c.visitIndex(ctx, dir, s)
	}
	return c.visitImage(ctx, dir, s.Node)
}

// visitIndex collects the blobs that an index lists, and reports what is missing. An
// index may list more than its archive had.
func (c *collector) visitIndex(ctx context.Context, dir *nameDir, s manifest.Step) ([]dockerImage, error) {
	var images []dockerImage
	found := len(s.Below) == 0
	for _, b := range s.Below {
		missing := b.Missing != nil
		if !manifest.IsManifest(b.Descriptor) {
			has, err := c.addBlob(ctx, dir, b.Descriptor)
			if err != nil {
				return nil, err
			}
			missing = !has
		}
		if missing {
			c.logf("%s (%s) is left out: it is not in %s", platform.Describe(b.Descriptor), b.Digest, c.address())
			continue
		}
		found = found || !platform.IsAttestation(b.Descriptor)
		below := dir.visited[b.Digest]
		if p, ok := platform.Of(b.Descriptor); ok && len(below) == 1 {
			below = []dockerImage{{p, below[0].DockerEntry}}
		}
		images = append(images, below...)
	}
	if !found && s.Depth == 0 {
		return nil, fmt.Errorf("nothing that index %s lists is in %s", s.Digest, c.address())
	}
	return images, nil
}

// visitImage collects the blobs of a manifest that is not an index. All of them have
// to be there, except non-distributable layers.
func (c *collector) visitImage(ctx context.Context, dir *nameDir, m *manifest.Node) ([]dockerImage, error) {
	config, err := c.addConfig(ctx, dir, m)
	if err != nil {
		return nil, fmt.Errorf("config of manifest %s: %w", m.Digest, err)
	}
	loadable := config != nil
	img := dockerImage{DockerEntry: ocilayout.DockerEntry{Layers: []string{}}}
	for _, d := range m.Layers {
		loadable = loadable && manifest.IsLayer(d.MediaType)
		has, err := c.addBlob(ctx, dir, d)
		switch {
		case err != nil:
			return nil, err
		case !has && manifest.IsForeign(d.MediaType):
			c.logf("layer %s is left out: it is non-distributable, and not in %s", d.Digest, c.address())
		case !has:
			return nil, fmt.Errorf("blob %s of manifest %s is not in %s", d.Digest, m.Digest, c.address())
		}
		img.Layers = append(img.Layers, ocilayout.BlobPath(d.Digest))
	}
	if !loadable {
		return nil, nil
	}
	img.Platform = platform.From(config.Platform)
	img.Config = ocilayout.BlobPath(m.Config.Digest)
	return []dockerImage{img}, nil
}

// addConfig collects the config of a manifest, if it has one, and returns what it
// says, or nil for an artifact.
func (c *collector) addConfig(ctx context.Context, dir *nameDir, m *manifest.Node) (*manifest.Config, error) {
	if m.Config == nil {
		return nil, nil
	}
	if m.Config.Size > layout.MaxManifest {
		has, err := c.addBlob(ctx, dir, *m.Config)
		if err == nil && !has {
			err = fmt.Errorf("%s is not in %s", m.Config.Digest, c.address())
		}
		return nil, err
	}
	if size, known := c.archive.sizes[m.Config.Digest]; known && size != m.Config.Size {
		return nil, sizeError(*m.Config, size)
	}
	read, known := c.configs[m.Config.Digest]
	if !known {
		data, err := c.config(ctx, dir, *m.Config)
		if err != nil {
			return nil, err
		}
		if err := c.archive.addDocument(m.Config.Digest, data); err != nil {
			return nil, err
		}
		if read.config, read.err = manifest.ReadConfig(data); read.err == nil {
			if err := c.archive.hold(read.config.Memory()); err != nil {
				return nil, err
			}
		}
		c.configs[m.Config.Digest] = read
	}
	return m.Judge(read.config, read.err)
}

// A readConfig is what was read of a config. Many manifests may share one.
type readConfig struct {
	config *manifest.Config
	err    error
}

func (c *collector) config(ctx context.Context, dir *nameDir, d v1.Descriptor) ([]byte, error) {
	file, ok := dir.Blobs[d.Digest.String()]
	if !ok {
		return nil, fmt.Errorf("%s is not in %s", d.Digest, c.address())
	}
	data, err := c.from.Read(ctx, file, layout.MaxManifest)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", d.Digest, err)
	case int64(len(data)) != d.Size:
		return nil, sizeError(d, int64(len(data)))
	case d.Digest.Algorithm().FromBytes(data) != d.Digest:
		return nil, digestError(d.Digest)
	}
	return data, nil
}

// addBlob collects a blob, and reports whether the root has it.
func (c *collector) addBlob(ctx context.Context, dir *nameDir, d v1.Descriptor) (has bool, err error) {
	size, known := c.archive.sizes[d.Digest]
	if !known {
		file, ok := dir.Blobs[d.Digest.String()]
		if !ok {
			return false, nil
		}
		f, err := c.from.File(ctx, file)
		if err != nil {
			return false, fmt.Errorf("blob %s: %w", d.Digest, err)
		}
		size = f.Table.Size()
		c.archive.addBlob(d.Digest, f)
	}
	if size != d.Size {
		return true, sizeError(d, size)
	}
	return true, nil
}

// referrers returns the referrers of a manifest, and lists them in the archive's
// index, beside their subject.
func (c *collector) referrers(ctx context.Context, dir *nameDir, subject digest.Digest) ([]v1.Descriptor, error) {
	file, ok := dir.Referrers[subject.String()]
	if !ok {
		return nil, nil
	}
	data, err := c.from.Read(ctx, file, layout.MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", subject, err)
	}
	m, err := layout.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", subject, err)
	}
	index, err := manifest.Parse(m)
	if err != nil {
		return nil, fmt.Errorf("referrers of %s: %w", subject, err)
	}
	for _, d := range index.Manifests {
		n, err := dir.Graph.Node(d)
		if err != nil {
			return nil, fmt.Errorf("referrer of %s: %w", subject, err)
		}
		if !c.listed[d.Digest] {
			c.listed[d.Digest] = true
			c.archive.index.Manifests = append(c.archive.index.Manifests, v1.Descriptor{MediaType: n.MediaType, Digest: d.Digest, Size: d.Size})
		}
	}
	return index.Manifests, nil
}

func sizeError(d v1.Descriptor, size int64) error {
	return fmt.Errorf("%s has %d bytes, and its descriptor says %d", d.Digest, size, d.Size)
}

func digestError(d digest.Digest) error { return fmt.Errorf("%s: %w", d, errDigest) }
