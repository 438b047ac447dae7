package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

// An input is an archive's tar, which may be compressed as a whole.
type input struct {
	r     io.Reader
	ended bool // the end of r was read
}

func newInput(ctx context.Context, r io.Reader) (*input, error) {
	br := bufio.NewReader(newReadAhead(ctx, r))
	magic, err := br.Peek(blob.MagicSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	switch blob.EncodingOf(magic) {
	case blob.Gzipped:
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("decompressing the archive: %w", err)
		}
		return &input{r: z}, nil
	case blob.Zstandard:
		z, err := blob.NewZstdReader(br)
		if err != nil {
			return nil, fmt.Errorf("decompressing the archive: %w", err)
		}
		return &input{r: z}, nil
	}
	return &input{r: br}, nil
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.ended = in.ended || err == io.EOF && n == 0
	return n, err
}
