package layouts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/tests/internal/harness"
)

// A stargz is a stargz layer: a gzip file whose members are tar headers, the contents of
// files, a table of contents, and a footer with the offset of the table. A client that
// wants one file reads the footer, the table and that file.
// https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
type stargz struct {
	bytes.Buffer
	toc []tocEntry
	tar bytes.Buffer // the uncompressed layer
}

type tocEntry struct {
	Name        string    `json:"name"`
	Type        string    `json:"type"`
	Size        int64     `json:"size,omitempty"`
	ModTime     time.Time `json:"modtime"`
	LinkName    string    `json:"linkName,omitempty"`
	Mode        int64     `json:"mode,omitempty"`
	UID         int       `json:"uid,omitempty"`
	GID         int       `json:"gid,omitempty"`
	Offset      int64     `json:"offset,omitempty"`
	Digest      string    `json:"digest,omitempty"`
	ChunkDigest string    `json:"chunkDigest,omitempty"`
}

const (
	tocFile      = "stargz.index.json"
	landmark     = ".no.prefetch.landmark"
	stargzFooter = 51 // bytes
	tocDigest    = "containerd.io/snapshot/stargz/toc.digest"
)

// stargzOf returns the image with stargz layers, and the annotations of each layer.
func stargzOf(t *testing.T, img harness.Image) (harness.ImageBlobs, map[string]map[string]string) {
	t.Helper()
	a := harness.ReadArchive(t, img.Archive)
	saved := a.Saved(t)
	var config map[string]any
	if err := json.Unmarshal(a.File(t, saved.Config), &config); err != nil {
		t.Fatal(err)
	}
	b := harness.ImageBlobs{Blobs: map[string]string{}}
	annotations := map[string]map[string]string{}
	var diffIDs []string
	for _, layer := range saved.Layers {
		blob, uncompressed, toc := stargzLayer(t, a.File(t, layer))
		digest := harness.DigestOf(blob)
		b.Layers = append(b.Layers, digest)
		b.Blobs[digest] = string(blob)
		annotations[digest] = map[string]string{tocDigest: harness.DigestOf(toc)}
		diffIDs = append(diffIDs, harness.DigestOf(uncompressed))
	}
	config["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffIDs}
	content := marshal(t, config)
	b.Config = harness.DigestOf([]byte(content))
	b.Blobs[b.Config] = content
	return b, annotations
}

// stargzLayer makes a stargz layer from a tar file.
func stargzLayer(t *testing.T, layer []byte) (blob, uncompressed, toc []byte) {
	t.Helper()
	s := new(stargz)
	s.entry(t, &tar.Header{Name: landmark, Typeflag: tar.TypeReg, Mode: 0o644, Size: 1}, []byte{0xf})
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		s.entry(t, h, content)
	}
	return s.close(t)
}

// member adds a part of the tar file as a gzip member.
func (s *stargz) member(t *testing.T, content []byte) {
	t.Helper()
	s.tar.Write(content)
	s.Write(harness.Gzipped(t, content))
}

func (s *stargz) entry(t *testing.T, h *tar.Header, content []byte) {
	t.Helper()
	var header bytes.Buffer
	if err := tar.NewWriter(&header).WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	s.member(t, header.Bytes())
	types := map[byte]string{tar.TypeReg: "reg", tar.TypeDir: "dir", tar.TypeLink: "hardlink", tar.TypeSymlink: "symlink"}
	e := tocEntry{
		Name: h.Name, Type: types[h.Typeflag], Size: h.Size, ModTime: h.ModTime,
		LinkName: h.Linkname, Mode: h.Mode, UID: h.Uid, GID: h.Gid,
	}
	if len(content) > 0 {
		e.Offset, e.Digest, e.ChunkDigest = int64(s.Len()), harness.DigestOf(content), harness.DigestOf(content)
		s.member(t, append(content, make([]byte, -len(content)&511)...))
	}
	s.toc = append(s.toc, e)
}

func (s *stargz) close(t *testing.T) (blob, uncompressed, toc []byte) {
	t.Helper()
	toc = []byte(marshal(t, map[string]any{"version": 1, "entries": s.toc}))
	begin := s.Len()
	var last bytes.Buffer
	w := tar.NewWriter(&last)
	if err := w.WriteHeader(&tar.Header{Name: tocFile, Typeflag: tar.TypeReg, Size: int64(len(toc))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(toc); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s.member(t, last.Bytes())
	footer, err := gzip.NewWriterLevel(s, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	footer.Extra = append([]byte{'S', 'G', 22, 0}, fmt.Sprintf("%016xSTARGZ", begin)...)
	if err := footer.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Bytes(), s.tar.Bytes(), toc
}
