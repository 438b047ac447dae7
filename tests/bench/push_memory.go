package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"

	"golang.org/x/sync/errgroup"
)

const (
	uploaders  = 64
	uploadSize = 100_000_000
)

// uploads prints how much memory our registry needs for many uploads at once, by the kind of
// blob.
func (b *bench) uploads() error {
	noise := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for _, kind := range []struct {
		name            string
		first, repeated []byte // what the blobs begin with, and what they repeat after that
	}{
		{"of noise", nil, noise},
		{"of gzip", []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}, storedBlock(noise[:65535])},
		{"of gzip in small members", nil, member(noise)},
		{"of zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x58}, rawBlock(noise[:128<<10])},
	} {
		most, err := b.memoryOfUploads(kind.first, kind.repeated)
		if err != nil {
			return fmt.Errorf("%d uploads %s: %w", uploaders, kind.name, err)
		}
		report(fmt.Sprintf("memory while %d uploads of %d MB run, %s", uploaders, uploadSize/1_000_000, kind.name),
			float64(most)/(1<<20), 128, "MiB above idle")
	}
	return b.ctx.Err()
}

// storedBlock returns a block of deflate that is not the last one.
func storedBlock(content []byte) []byte {
	header := binary.LittleEndian.AppendUint16([]byte{0}, uint16(len(content)))
	return append(binary.LittleEndian.AppendUint16(header, ^uint16(len(content))), content...)
}

// rawBlock returns a block of zstd that is not the last one.
func rawBlock(content []byte) []byte {
	h := uint32(len(content)) << 3
	return append([]byte{byte(h), byte(h >> 8), byte(h >> 16)}, content...)
}

// member returns a file of gzip.
func member(content []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(content)
	z.Close()
	return b.Bytes()
}

// memoryOfUploads returns the most memory, in bytes, that uploads at the same time need. It
// cancels the uploads in the end.
func (b *bench) memoryOfUploads(first, repeated []byte) (int64, error) {
	t := b.targets()[0]
	if err := b.empty(t); err != nil {
		return 0, err
	}
	defer t.stopped()
	idle, err := t.memory("VmRSS")
	if err != nil {
		return 0, err
	}
	var all errgroup.Group
	for i := range uploaders {
		all.Go(func() error {
			resp, err := request("POST", fmt.Sprintf("%s/v2/app-%d/blobs/uploads/", t.url, i), nil)
			if err != nil {
				return err
			}
			upload := t.url + resp.Header.Get("Location")
			body := io.LimitReader(io.MultiReader(bytes.NewReader(first), &endless{content: repeated}), uploadSize)
			if _, err := request("PATCH", upload, body); err != nil {
				return err
			}
			_, err = request("DELETE", upload, nil)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return 0, err
	}
	most, err := t.memory("VmHWM")
	return most - idle, err
}

// An endless reader repeats its content.
type endless struct{ content, rest []byte }

func (e *endless) Read(p []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.content
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// request sends a request, which must be answered with success.
func request(method, url string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s\n%s", method, url, resp.Status, said)
	}
	return resp, err
}
