package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cut"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
)

// compressedVersions measures how many of its bytes a new version adds to the old one
// where both come compressed and keep their bytes.
func (b *bench) compressedVersions() error {
	for _, test := range []struct {
		format string
		limit  float64
	}{{"gzip", 0}, {"zstd", 0}, {"zstd:chunked", 0.5}} {
		before, err := b.compressedLeaves(b.v1, test.format)
		if err != nil {
			return err
		}
		after, err := b.compressedLeaves(b.v2, test.format)
		if err != nil {
			return err
		}
		reportNew("new leaves of version 2, kept as "+test.format, before, after, test.limit)
	}
	return nil
}

// compressedLeaves has skopeo compress the layer of an archive, and returns the leaves
// that the layer is cut into.
func (b *bench) compressedLeaves(archive, format string) (layer, error) {
	dir := filepath.Join(b.work, "compressed")
	defer os.RemoveAll(dir)
	if err := b.command("skopeo", "copy", "--quiet", "--dest-compress-format", format, "docker-archive:"+archive, "oci:"+dir+":1"); err != nil {
		return layer{}, err
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		return layer{}, err
	}
	for _, blob := range blobs {
		if content, err := os.ReadFile(blob); err != nil || !json.Valid(content) {
			return leavesOf(blob)
		}
	}
	return layer{}, errors.New("the image has no layer")
}

// leavesOf cuts a file that keeps its bytes.
func leavesOf(file string) (layer, error) {
	f, err := os.Open(file)
	if err != nil {
		return layer{}, err
	}
	defer f.Close()
	c := cut.NewCutter(unixfs.V1)
	defer c.Close()
	if _, err := io.Copy(c, f); err != nil {
		return layer{}, err
	}
	blob, err := c.File()
	if err != nil {
		return layer{}, err
	}
	l := layer{blob.Table.Size(), map[string]int64{}}
	for i := range blob.Table.Leaves {
		l.leaves[blob.Table.CID(i).String()] = int64(blob.Table.Len(i))
	}
	return l, nil
}
