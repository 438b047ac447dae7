// Image writes the archive of an image that runs one static program to standard output,
// as `docker save` would, so that the demo needs no Docker.
//
//	go run ./tests/demo/image demo/hello:1.0 ./hello | converter
package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: image NAME:TAG PROGRAM")
		os.Exit(2)
	}
	if err := write(os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "image: %v\n", err)
		os.Exit(1)
	}
}

func write(w io.Writer, name, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	entrypoint := "/" + path.Base(program)
	layer, err := tarOf(file{entrypoint[1:], 0o755, content})
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{entrypoint}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hexDigest(layer)}},
	})
	if err != nil {
		return err
	}
	list, err := json.Marshal([]any{map[string]any{
		"Config":   hexDigest(config) + ".json",
		"RepoTags": []string{name},
		"Layers":   []string{"1/layer.tar"},
	}})
	if err != nil {
		return err
	}
	archive, err := tarOf(
		file{"1/layer.tar", 0o644, layer},
		file{hexDigest(config) + ".json", 0o644, config},
		file{"manifest.json", 0o644, list},
	)
	if err != nil {
		return err
	}
	_, err = w.Write(archive)
	return err
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func tarOf(files ...file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func hexDigest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
