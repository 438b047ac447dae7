package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// store compares converting into a store with pushing to Docker's registry.
func (b *bench) store() error {
	registry, err := b.dockerRegistry()
	if err != nil {
		return err
	}
	defer registry.stop()
	dir := filepath.Join(b.work, "store")
	return b.compare("archive → store : skopeo copy → docker-registry, time", 0.5, func() error {
		return errors.Join(os.RemoveAll(dir), os.RemoveAll(filepath.Join(b.dockerRegistryData(), "docker")))
	}, func() error {
		return b.convert(b.v2, "--store", dir)
	}, func() error {
		return b.command("skopeo", "copy", "--quiet", "--dest-tls-verify=false", "docker-archive:"+b.v2, "docker://"+dockerRegistryAddress+"/bench:1")
	})
}

// uncompressed compares converting without compression with hashing the archive and
// copying it.
func (b *bench) uncompressed() error {
	dir, file := filepath.Join(b.work, "store"), filepath.Join(b.work, "copy")
	return b.compare("archive → store, not compressed : openssl dgst, cp, sync", 1.3, func() error {
		return errors.Join(os.RemoveAll(dir), os.RemoveAll(file))
	}, func() error {
		return b.convert(b.v2, "--compression", "none", "--store", dir)
	}, func() error {
		return errors.Join(
			b.command("openssl", "dgst", "-sha256", b.v2),
			b.command("cp", b.v2, file),
			b.command("sync", file))
	})
}

const (
	kuboAPI     = "127.0.0.1:15056"
	kuboGateway = "127.0.0.1:15057"
)

// kubo compares converting onto an IPFS node with adding the archive to it.
func (b *bench) kubo() error {
	repo := filepath.Join(b.work, "kubo")
	env := append(os.Environ(), "IPFS_PATH="+repo)
	ipfs := func(args ...string) error {
		cmd := exec.CommandContext(b.ctx, "bin/ipfs", args...)
		cmd.Env = env
		return output(cmd)
	}
	err := errors.Join(
		ipfs("init", "--profile=test"),
		ipfs("config", "Addresses.API", multiaddr(kuboAPI)),
		ipfs("config", "Addresses.Gateway", multiaddr(kuboGateway)))
	if err != nil {
		return err
	}
	daemon := exec.CommandContext(b.ctx, "bin/ipfs", "daemon", "--offline")
	daemon.Env = env
	stop, err := b.start("http://"+kuboGateway+"/ipfs/bafkqaaa", daemon)
	if err != nil {
		return err
	}
	defer stop()
	empty := func() error {
		return errors.Join(b.unpinAll(repo), ipfs("repo", "gc", "--quiet"))
	}
	return b.compare("archive → Kubo : ipfs add of the archive, time", 2.0, empty, func() error {
		return b.convert(b.v2, "--ipfs-api", "http://"+kuboAPI)
	}, func() error {
		return ipfs("add", "--quieter", b.v2)
	})
}

func (b *bench) unpinAll(repo string) error {
	list := exec.CommandContext(b.ctx, "bin/ipfs", "pin", "ls", "--type=recursive", "--quiet")
	list.Env = append(os.Environ(), "IPFS_PATH="+repo)
	out, err := list.Output()
	if err != nil {
		return err
	}
	for cid := range strings.FieldsSeq(string(out)) {
		rm := exec.CommandContext(b.ctx, "bin/ipfs", "pin", "rm", cid)
		rm.Env = list.Env
		if err := output(rm); err != nil {
			return err
		}
	}
	return nil
}

// size compares the size of the converted layer with that of `gzip -6`.
func (b *bench) size() error {
	gz := exec.CommandContext(b.ctx, "gzip", "-6")
	in, err := gz.StdinPipe()
	if err != nil {
		return err
	}
	var n counter
	gz.Stdout = &n
	if err := gz.Start(); err != nil {
		return err
	}
	if err := errors.Join(layerOf(b.v2, in), in.Close(), gz.Wait()); err != nil {
		return err
	}
	layer, err := b.layer(b.v2)
	if err != nil {
		return err
	}
	report("size of the layer : gzip -6", float64(layer.size)/float64(n), 1.04, fmt.Sprintf("%d different members", len(layer.leaves)))
	return nil
}

// secondVersion measures how many of its bytes a new version adds to the old one.
func (b *bench) secondVersion() error {
	v1, err := b.layer(b.v1)
	if err != nil {
		return err
	}
	v2, err := b.layer(b.v2)
	if err != nil {
		return err
	}
	touched, err := b.layer(b.touched)
	if err != nil {
		return err
	}
	reportNew("new bytes of version 2 : all of its bytes", v1, v2, 0.20)
	reportNew("the same where nothing but all times changed", v2, touched, 0)
	v1, err = b.recompressed(b.v1)
	if err != nil {
		return err
	}
	v2, err = b.recompressed(b.v2)
	if err != nil {
		return err
	}
	reportNew("the same of compressed layers, with --recompress", v1, v2, 0.20)
	return nil
}

// recompressed has skopeo compress the layer of an archive, converts that with
// --recompress, and returns the layer.
func (b *bench) recompressed(archive string) (layer, error) {
	compressed := filepath.Join(b.work, "compressed.tar")
	defer os.Remove(compressed)
	if err := b.command("skopeo", "copy", "--quiet", "docker-archive:"+archive, "oci-archive:"+compressed+":bench/debian:1"); err != nil {
		return layer{}, err
	}
	return b.layer(compressed, "--recompress")
}

func reportNew(name string, before, after layer, limit float64) {
	var added int64
	for leaf, n := range after.leaves {
		if _, shared := before.leaves[leaf]; !shared {
			added += n
		}
	}
	report(name, float64(added)/float64(after.size), limit, fmt.Sprintf("%.1f of %.1f MB", float64(added)/1e6, float64(after.size)/1e6))
}

// A layer is a layer and the leaves that it is cut into.
type layer struct {
	size   int64            // bytes
	leaves map[string]int64 // their lengths, by the hash of their content
}

// memory prints the peak memory of converting images of different sizes.
func (b *bench) memory() error {
	small, err := b.peak(b.v2, 1)
	if err != nil {
		return err
	}
	large, err := b.peak(b.v2, 10)
	if err != nil {
		return err
	}
	fmt.Printf("%-58s %d MiB, and %d MiB with a layer ten times as large\n", "peak memory", small>>20, large>>20)
	return nil
}

// peak converts an image whose layer is the archive's, repeated several times. It returns
// the converter's peak memory in bytes.
func (b *bench) peak(archive string, times int) (int64, error) {
	layer := filepath.Join(b.work, "layer")
	f, err := os.Create(layer)
	if err != nil {
		return 0, err
	}
	image := filepath.Join(b.work, "image.tar")
	if err := errors.Join(layerOf(archive, f), f.Close(), writeArchive(layer, image, times), os.Remove(layer)); err != nil {
		return 0, err
	}
	defer os.Remove(image)
	dir := filepath.Join(b.work, "peak")
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(b.ctx, b.converter, "--quiet", "--input", image, "--store", dir)
	if err := output(cmd); err != nil {
		return 0, err
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10, nil
}

// layer converts an archive of one layer and returns the layer.
func (b *bench) layer(archive string, flags ...string) (layer, error) {
	dir := filepath.Join(b.work, "layer-store")
	defer os.RemoveAll(dir)
	if err := b.convert(archive, append(flags, "--store", dir)...); err != nil {
		return layer{}, err
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		return layer{}, err
	}
	for _, blob := range blobs {
		content, err := os.ReadFile(blob)
		if err != nil {
			return layer{}, err
		}
		if !json.Valid(content) {
			return gzipMembers(content)
		}
	}
	return layer{}, errors.New("the store has no layer")
}

// gzipMembers reads the members of a gzip file.
func gzipMembers(content []byte) (layer, error) {
	l := layer{int64(len(content)), map[string]int64{}}
	r := bytes.NewReader(content)
	var z gzip.Reader
	for r.Len() > 0 {
		start := len(content) - r.Len()
		if err := z.Reset(r); err != nil {
			return layer{}, err
		}
		z.Multistream(false)
		if _, err := io.Copy(io.Discard, &z); err != nil {
			return layer{}, err
		}
		member := content[start : len(content)-r.Len()]
		l.leaves[hexDigest(member)] = int64(len(member))
	}
	return l, nil
}

func (b *bench) convert(archive string, to ...string) error {
	return b.command(b.converter, append([]string{"--quiet", "--input", archive}, to...)...)
}

func (b *bench) command(name string, args ...string) error {
	return output(exec.CommandContext(b.ctx, name, args...))
}

// output runs a command. If it fails, the error has its output.
func output(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// start starts a server and waits until it answers at url, for up to a minute. The
// function stop ends it.
func (b *bench) start(url string, cmd *exec.Cmd) (stop func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	late := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			return stop, nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return nil, fmt.Errorf("%s ended with %s before it answered at %s; does another program listen there?", cmd, cmd.ProcessState, url)
		case <-late:
			stop()
			return nil, fmt.Errorf("%s does not answer at %s: %w", cmd, url, err)
		}
	}
}

// A counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
