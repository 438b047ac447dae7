package wrapping

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

const blockSize = 512

// Finish reads what follows the end of the tar, so that the program that writes into the
// pipe can finish, and so that the checksum of compressed data is checked. Zeros are
// padding. Another archive is an error. Finish ignores anything else, and says so in
// the note.
func (u *Reader) Finish() (note string, err error) {
	rest := bufio.NewReaderSize(u, bufferSize)
	for {
		block, err := rest.Peek(blockSize)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if len(bytes.Trim(block, "\x00")) > 0 {
			if isHeader(block) || blob.EncodingOf(block) != blob.Plain {
				return "", ErrSecondArchive
			}
			note = "what follows after the end of the archive is ignored: it is no archive"
			break
		}
		if len(block) < blockSize {
			break
		}
		_, _ = rest.Discard(len(block)) // was peeked, so it is there
	}
	if _, err := io.Copy(io.Discard, rest); err != nil {
		return "", err
	}
	for _, d := range u.peeled {
		if d.trailing {
			note = fmt.Sprintf("what follows after the end of the %s data is ignored: it is not %[1]s", d.encoding)
		}
	}
	return note, nil
}

// isHeader reports whether a block is the header of a tar's entry.
func isHeader(block []byte) bool {
	if len(block) < blockSize {
		return false
	}
	const at, width = 148, 8
	want, err := strconv.ParseInt(strings.Trim(string(block[at:at+width]), " \x00"), 8, 32)
	if err != nil {
		return false
	}
	sum := int64(width * ' ')
	for i, c := range block {
		if i < at || i >= at+width {
			sum += int64(c)
		}
	}
	return sum == want
}
