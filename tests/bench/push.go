package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	distributionAddress = "127.0.0.1:15065"
	olaregAddress       = "127.0.0.1:15066"
)

// A target is a registry that images are pushed to. Olareg has no bar: it does not sync what
// it writes, so a crash of the machine can lose what it has answered.
type target struct {
	name  string
	limit float64                           // of our time : its time; 0 for no bar
	start func(dir string) (*server, error) // with its data in a directory

	*server
	dir string
}

// targets returns our registry and its peers, the first of which is ours.
func (b *bench) targets() []*target {
	return []*target{
		{name: "ours", start: func(dir string) (*server, error) {
			return b.caddy(ourAddress, "ipfs_registry {\n\tstore "+dir+"\n\tpush {\n\t\tanonymous\n\t}\n}")
		}},
		{name: "docker-registry", limit: 1, start: func(dir string) (*server, error) {
			return b.distribution("docker-registry", dockerRegistryAddress, dir)
		}},
		{name: "distribution", limit: 1, start: func(dir string) (*server, error) {
			return b.distribution("bin/distribution", distributionAddress, dir)
		}},
		{name: "olareg", start: func(dir string) (*server, error) {
			_, port, _ := strings.Cut(olaregAddress, ":")
			return b.peer(olaregAddress, exec.CommandContext(b.ctx, "bin/olareg", "serve", "--addr=127.0.0.1", "--port="+port, "--dir="+dir))
		}},
	}
}

// distribution starts a version of the distribution project's registry.
func (b *bench) distribution(program, address, dir string) (*server, error) {
	config := filepath.Join(b.work, "registry-"+address+".yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, program, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	return b.peer(address, cmd)
}

// peer starts a registry that listens on an address.
func (b *bench) peer(address string, cmd *exec.Cmd) (*server, error) {
	url := "http://" + address
	stop, err := b.start(url+"/v2/", cmd)
	if err != nil {
		return nil, err
	}
	return &server{url, stop, cmd.Process.Pid}, nil
}

// empty starts a target with an empty directory.
func (b *bench) empty(t *target) error {
	t.stopped()
	t.dir = filepath.Join(b.work, "target-"+t.name)
	if err := errors.Join(os.RemoveAll(t.dir), os.Mkdir(t.dir, 0o755)); err != nil {
		return err
	}
	var err error
	t.server, err = t.start(t.dir)
	syscall.Sync() // so that no target waits for the writes of another one
	return err
}

// stopped stops a target if it is running.
func (t *target) stopped() {
	if t.server != nil {
		t.stop()
		t.server = nil
	}
}

// pushing compares pushes of images by skopeo with pushes to other registries.
func (b *bench) pushing() error {
	const (
		layers  = 10
		size    = 200_000_000
		clients = 8
	)
	whole := filepath.Join(b.work, "whole")
	if err := writeLayout(whole, 0, layers, size/layers); err != nil {
		return err
	}
	defer os.RemoveAll(whole)
	var several []string
	for i := range clients {
		dir := filepath.Join(b.work, fmt.Sprintf("several-%d", i))
		if err := writeLayout(dir, byte(1+i), layers/2, size/clients/(layers/2)); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		several = append(several, dir)
	}
	all := b.targets()
	defer func() {
		for _, t := range all {
			t.stopped()
			os.RemoveAll(t.dir)
		}
	}()
	push := func(t *target) error { return b.copyInto(whole, t, "bench/whole") }
	return errors.Join(
		b.compareTargets(fmt.Sprintf("skopeo copy of %d layers into a registry", layers), all, b.empty, push),
		b.compareTargets("the same again, with nothing changed", all, push, push),
		b.compareTargets(fmt.Sprintf("%d clients that push different images at once", clients), all, b.empty, func(t *target) error {
			var group errgroup.Group
			for i, dir := range several {
				group.Go(func() error { return b.copyInto(dir, t, fmt.Sprintf("bench/several-%d", i)) })
			}
			return group.Wait()
		}))
}

// copyInto copies an OCI layout into a registry. It discards what skopeo remembers about the
// places of blobs.
func (b *bench) copyInto(layout string, t *target, name string) error {
	memory, err := os.MkdirTemp(b.work, "skopeo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(memory)
	cmd := exec.CommandContext(b.ctx, "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:"+layout+":1", "docker://"+host(t.server)+"/"+name+":1")
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+memory, "_CONTAINERS_ROOTLESS_UID=1") // skopeo's own memory, not this machine's
	return output(cmd)
}

// compareTargets measures the same work with each target in turn, and prints the ratio of the
// first one's time to that of each other one. It calls reset before each run, and does not
// time it.
func (b *bench) compareTargets(name string, all []*target, reset, work func(*target) error) error {
	times := make([][]time.Duration, len(all))
	n := pairs
	for i := 0; i < n; i++ {
		for j, t := range all {
			took, err := timed(func() error { return reset(t) }, func() error { return work(t) })
			if err != nil {
				return fmt.Errorf("%s: %s: %w", name, t.name, err)
			}
			if took > slowCycle {
				n = fewPairs
			}
			times[j] = append(times[j], took)
		}
	}
	for j, t := range all[1:] {
		printPairs(name+" : "+t.name, t.limit, times[0], times[j+1])
	}
	return b.ctx.Err()
}
