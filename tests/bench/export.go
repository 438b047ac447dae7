package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// export compares exporting an image from a store, which verifies it, with copying its
// blobs, which does not: once to a file, and once to a file that is synced to disk.
func (b *bench) export() error {
	dir := filepath.Join(b.work, "export-store")
	defer os.RemoveAll(dir)
	printed, err := exec.CommandContext(b.ctx, b.converter, "--quiet", "--input", b.v2, "--store", dir).Output()
	if err != nil {
		return err
	}
	ref, file := strings.TrimSpace(string(printed)), filepath.Join(b.work, "exported")
	reset := func() error { return os.RemoveAll(file) }
	err = b.compare("store → archive : cat of the blobs, time", 1.3, reset, func() error {
		return b.shell(`"$1" export --store "$2" "$3" >"$4"`, b.converter, dir, ref, file)
	}, func() error {
		return b.shell(`cat "$1"/blobs/*/* >"$2"`, dir, file)
	})
	if err != nil {
		return err
	}
	return b.compare("the same, onto disk", 0, reset, func() error {
		return b.command(b.converter, "export", "--store", dir, "--output", file, ref)
	}, func() error {
		return b.shell(`cat "$1"/blobs/*/* >"$2"; sync "$2"`, dir, file)
	})
}

// shell runs a shell script with arguments.
func (b *bench) shell(line string, args ...string) error {
	return b.command("sh", append([]string{"-ec", line, "sh"}, args...)...)
}
