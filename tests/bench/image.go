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

// images returns archives of a Debian with one flat layer, of the same with curl
// and its certificates installed, and of that with every time changed. They are
// made once, in the cache folder.
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
		return "", "", "", errors.New("making the images takes root, for debootstrap")
	}
	fmt.Println("making the images, once")
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

// writeArchive writes what docker save wrote before 25 for an image whose one
// layer is the given file's content, several times over.
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

// repeat writes a file's content to w so many times. It does not hold it: the
// most memory that a process had counts for those that it starts, too.
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
