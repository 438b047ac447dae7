package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// layers is how many layers the image of wholeImage has.
const layers = 10

// wholeImage compares pulling an image of several layers from the store with pulling it
// from Docker's registry.
func (b *bench) wholeImage(ours, registry *server) error {
	archive, dir := filepath.Join(b.work, "layers.tar"), filepath.Join(b.work, "layers")
	defer os.Remove(archive)
	if err := b.writeLayers(dir, archive); err != nil {
		return fmt.Errorf("making an image of %d layers: %w", layers, err)
	}
	p, err := b.convertedInto(filepath.Join(b.work, "kept"), archive)
	if err != nil {
		return err
	}
	if err := b.push(ours, p); err != nil {
		return err
	}
	out := filepath.Join(b.work, "pulled.tar")
	pull := func(s *server) func() error {
		return func() error { return b.command("bin/crane", "pull", "--insecure", host(s)+"/"+p.reference, out) }
	}
	return b.compare(fmt.Sprintf("crane pull of %d layers, store : docker-registry, time", layers), 1.05, func() error {
		return os.RemoveAll(out)
	}, pull(ours), pull(registry))
}

// writeLayers spreads the entries of v2's layer over several layers, and writes an archive
// of an image with these.
func (b *bench) writeLayers(dir, archive string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	whole, err := os.Create(filepath.Join(dir, "whole"))
	if err != nil {
		return err
	}
	defer whole.Close()
	if err := layerOf(b.v2, whole); err != nil {
		return err
	}
	var files []string
	for i := range layers {
		files = append(files, filepath.Join(dir, fmt.Sprint(i)))
	}
	if err := spread(whole, files); err != nil {
		return err
	}
	return writeArchiveOf(files, archive)
}

// spread copies the entries of a tar file to several others, in turn.
func spread(whole *os.File, files []string) error {
	if _, err := whole.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var writers []*tar.Writer
	for _, name := range files {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		writers = append(writers, tar.NewWriter(f))
	}
	r := tar.NewReader(whole)
	for i := 0; ; i++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		w := writers[i%len(writers)]
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
	}
	var errs []error
	for _, w := range writers {
		errs = append(errs, w.Close())
	}
	return errors.Join(errs...)
}

// writeArchiveOf writes an archive as docker save did before version 25, of an image with
// the given layers.
func writeArchiveOf(files []string, archive string) error {
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	var ids, names []string
	for i, file := range files {
		size, diffID, err := measure(file, 1)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%d/layer.tar", i)
		ids, names = append(ids, "sha256:"+diffID), append(names, name)
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
			return err
		}
		if err := repeat(file, 1, w); err != nil {
			return err
		}
	}
	return errors.Join(addManifest(w, ids, names), w.Close())
}

// addManifest adds the config of an image and manifest.json to an archive.
func addManifest(w *tar.Writer, diffIDs, layers []string) error {
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64",
		"os":           "linux",
		"rootfs":       map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		return err
	}
	list, err := json.Marshal([]any{map[string]any{
		"Config": hexDigest(config) + ".json", "RepoTags": []string{"bench/debian:1"}, "Layers": layers,
	}})
	if err != nil {
		return err
	}
	return errors.Join(addFile(w, hexDigest(config)+".json", config), addFile(w, "manifest.json", list))
}
