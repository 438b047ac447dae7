package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// images returns three archives of images with one layer: a Debian, the same with curl and
// certificates installed, and the second with all file times changed. They are made once
// and kept in the user's cache directory.
func images(ctx context.Context) (v1, v2, touched string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", "", err
	}
	dir := filepath.Join(cache, "caddy-ipfs-registry", "bench")
	v1, v2, touched = filepath.Join(dir, "v1.tar"), filepath.Join(dir, "v2.tar"), filepath.Join(dir, "touched.tar")
	if _, err := os.Stat(touched); err == nil {
		return v1, v2, touched, nil
	}
	if os.Geteuid() != 0 {
		return "", "", "", errors.New("making the images with debootstrap needs root")
	}
	fmt.Println("making the images; later runs will use them again")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", "", err
	}
	script := exec.CommandContext(ctx, "unshare", "--mount", "tests/bench/images.sh", dir)
	script.Stderr = os.Stderr
	if err := script.Run(); err != nil {
		return "", "", "", fmt.Errorf("making the images: %w", err)
	}
	for layer, archive := range map[string]string{"v1.layer": v1, "v2.layer": v2, "touched.layer": touched} {
		if err := writeArchive(filepath.Join(dir, layer), archive, 1); err != nil {
			return "", "", "", err
		}
	}
	return v1, v2, touched, nil
}

// writeArchive writes an archive as docker save did before version 25. The image has one
// layer: the content of the given file, repeated several times.
func writeArchive(layer, archive string, times int) error {
	size, diffID, err := measure(layer, times)
	if err != nil {
		return err
	}
	f, err := os.Create(archive + ".part")
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	err = errors.Join(
		w.WriteHeader(&tar.Header{Name: "1/layer.tar", Mode: 0o644, Size: size}),
		repeat(layer, times, w),
		addManifest(w, []string{"sha256:" + diffID}, []string{"1/layer.tar"}),
		w.Close(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(archive+".part", archive)
}

func measure(path string, times int) (size int64, digest string, err error) {
	h := sha256.New()
	if err := repeat(path, times, h); err != nil {
		return 0, "", err
	}
	return fileSize(path) * int64(times), fmt.Sprintf("%x", h.Sum(nil)), nil
}

// repeat writes a file's content to w several times. It does not read the file into
// memory, since the peak memory of this process would count for programs that it starts.
func repeat(path string, times int, w io.Writer) error {
	for range times {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func addFile(w *tar.Writer, name string, content []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

func hexDigest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// layerOf writes an archive's layer to w.
func layerOf(archive string, w io.Writer) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	r := tar.NewReader(f)
	if _, err := r.Next(); err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}
