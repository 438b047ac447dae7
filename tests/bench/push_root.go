package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/unixfs"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/usage"
)

const (
	repositories = 10_000
	tagsOfEach   = 10
	tagPuts      = 50
)

// largeRoot compares pushing a tag into a large root with pushing one into an empty root.
func (b *bench) largeRoot() error {
	dir := filepath.Join(b.work, "large-root")
	defer os.RemoveAll(dir)
	if err := fillRoot(b.ctx, dir); err != nil {
		return fmt.Errorf("filling a root: %w", err)
	}
	small := b.targets()[0]
	if err := b.empty(small); err != nil {
		return err
	}
	defer small.stopped()
	if err := send("POST", small.url+"/v2/"+repositoryOf(0)+"/blobs/uploads/?digest="+digest.FromString("{}").String(), "{}"); err != nil {
		return err
	}
	large, err := b.caddy(peerAddress, "ipfs_registry {\n\tstore "+dir+"\n\tpush {\n\t\tanonymous\n\t}\n}")
	if err != nil {
		return err
	}
	defer large.stop()
	written, err := writtenBy(large)
	if err != nil {
		return err
	}
	var intoSmall, intoLarge []time.Duration
	for i := range tagPuts {
		content := manifestOf(repositories + i)
		took, err := timedPut(small.url+"/v2/"+repositoryOf(0)+fmt.Sprintf("/manifests/new-%d", i), content)
		if err != nil {
			return err
		}
		intoSmall = append(intoSmall, took)
		repository := repositoryOf(i * (repositories / tagPuts))
		if took, err = timedPut(large.url+"/v2/"+repository+"/manifests/new", content); err != nil {
			return err
		}
		intoLarge = append(intoLarge, took)
	}
	after, err := writtenBy(large)
	if err != nil {
		return err
	}
	for i := range after {
		after[i] = (after[i] - written[i]) / tagPuts / 1024
	}
	_, least, _ := quartiles(intoSmall)
	_, most, _ := quartiles(intoLarge)
	name := fmt.Sprintf("tag PUT, root of %d repositories of %d tags, ", repositories, tagsOfEach)
	report(name+"p50", float64(most-least)/float64(time.Millisecond), 20, fmt.Sprintf("ms more than the %v in an empty root", least.Round(time.Microsecond)))
	report("the same, bytes written", after[0], 64, fmt.Sprintf("KiB for each, in %.0f KiB of blocks of the disk", after[1]))
	return b.ctx.Err()
}

// writtenBy returns how many bytes a server has written to files and connections, and how many
// to disks.
func writtenBy(s *server) (all [2]float64, err error) {
	for i, figure := range []string{"wchar", "write_bytes"} {
		n, err := usage.Written(s.pid, figure)
		if err != nil {
			return all, err
		}
		all[i] = float64(n)
	}
	return all, nil
}

func timedPut(url, content string) (time.Duration, error) {
	start := time.Now()
	err := send("PUT", url, content)
	return time.Since(start), err
}

// fillRoot makes a store whose own root has many repositories.
func fillRoot(ctx context.Context, dir string) error {
	_, err := store.Open(dir).Root().Change(ctx, func(ctx context.Context, d *store.Draft) error {
		config, err := d.AddFile([]byte("{}"))
		if err != nil {
			return err
		}
		changes := map[string]*unixfs.Node{}
		for i := range repositories {
			content := manifestOf(i)
			manifest, err := d.AddFile([]byte(content))
			if err != nil {
				return err
			}
			name := repositoryOf(i)
			changes[layout.BlobPath(name, digest.FromString("{}"))] = &config
			changes[layout.ManifestPath(name, digest.FromString(content).String())] = &manifest
			for tag := range tagsOfEach {
				changes[layout.ManifestPath(name, fmt.Sprintf("v%d", tag))] = &manifest
			}
		}
		return d.Edit(ctx, changes)
	})
	return err
}

func repositoryOf(i int) string { return fmt.Sprintf("app-%d", i) }

// manifestOf returns the manifest of an image without layers.
func manifestOf(i int) string {
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[],"annotations":{"number":"%d"}}`, digest.FromString("{}"), i)
}

// send is like request, with a string as the content.
func send(method, url, content string) error {
	_, err := request(method, url, strings.NewReader(content))
	return err
}
