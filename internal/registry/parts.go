package registry

import (
	"cmp"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/images"
)

// copy writes the blob, or these parts of it.
func (d *delivery) copy(b images.Blob, parts []images.Range) error {
	switch len(parts) {
	case 0:
		return b.Copy(d.r.Context(), nil, d)
	case 1:
		d.isPart = true
		return b.Copy(d.r.Context(), &parts[0], d)
	}
	return newByteRanges(d, parts).copy(b)
}

// A byteRanges is the images.Sink that writes several parts of a blob to a client, in the
// order in which the client asked for them. The parts of a run are read at once.
type byteRanges struct {
	to     *delivery
	parts  []images.Range
	writer *multipart.Writer
	size   int64          // of the blob
	left   []images.Range // the parts of the run that are not written yet
	next   int64          // the offset of the byte that comes next
	err    error
}

func newByteRanges(d *delivery, parts []images.Range) *byteRanges {
	return &byteRanges{to: d, parts: parts, writer: multipart.NewWriter(d)}
}

func (s *byteRanges) copy(b images.Blob) error {
	if s.to.maxGap > 0 && !isAscending(s.parts) {
		return s.copyGathered(b)
	}
	for _, run := range runsOf(s.parts, s.to.maxGap) {
		s.left = run
		if err := b.Copy(s.to.r.Context(), span(run), s); err != nil {
			return err
		}
	}
	return s.writer.Close()
}

// copyGathered reads all parts into memory before it writes them.
func (s *byteRanges) copyGathered(b images.Blob) error {
	all := gathering{content: make(map[images.Range][]byte, len(s.parts))}
	for _, run := range runsOf(ascending(s.parts), s.to.maxGap) {
		all.run = run
		if err := b.Copy(s.to.r.Context(), span(run), &all); err != nil {
			return err
		}
	}
	s.Start(all.file, 0, 0)
	for _, part := range s.parts {
		s.left, s.next = []images.Range{part}, part.First
		if _, err := s.Write(all.content[part]); err != nil {
			return err
		}
	}
	return s.writer.Close()
}

// Start implements images.Sink.
func (s *byteRanges) Start(f images.File, from, _ int64) {
	if !s.to.started {
		s.to.begin()
		s.size = f.Size
		header := s.to.w.Header()
		header.Set("Content-Type", "multipart/byteranges; boundary="+s.writer.Boundary())
		header.Set("Content-Length", strconv.FormatInt(s.length(), 10))
		s.to.w.WriteHeader(http.StatusPartialContent)
	}
	if f.Size != s.size {
		s.err = fmt.Errorf("the blob has %d bytes, and had %d before", f.Size, s.size)
	}
	s.next = from
}

// Write implements images.Sink.
func (s *byteRanges) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	from, to := s.next, s.next+int64(len(b))
	for len(s.left) > 0 && s.left[0].First < to {
		part := s.left[0]
		if part.First >= from {
			if _, err := s.writer.CreatePart(partHeader(part, s.size)); err != nil {
				return 0, err
			}
		}
		if _, err := s.to.Write(overlap(b, from, part)); err != nil {
			return 0, err
		}
		if part.Last >= to {
			break
		}
		s.left = s.left[1:]
	}
	s.next = to
	return len(b), nil
}

// length returns the number of bytes of the answer.
func (s *byteRanges) length() int64 {
	var n byteCounter
	w := multipart.NewWriter(&n)
	_ = w.SetBoundary(s.writer.Boundary()) // which is valid
	for _, part := range s.parts {
		_, _ = w.CreatePart(partHeader(part, s.size)) // counting never fails
		n += byteCounter(lengthOf(part))
	}
	_ = w.Close()
	return int64(n)
}

func partHeader(part images.Range, size int64) textproto.MIMEHeader {
	return textproto.MIMEHeader{
		"Content-Range": {contentRange(part.First, part.Last+1, size)},
		"Content-Type":  {blobType},
	}
}

// A byteCounter counts what is written to it.
type byteCounter int64

// Write implements io.Writer.
func (c *byteCounter) Write(b []byte) (int, error) {
	*c += byteCounter(len(b))
	return len(b), nil
}

// A gathering is the images.Sink that keeps parts of a blob in memory.
type gathering struct {
	run     []images.Range // the parts that are read now
	content map[images.Range][]byte
	file    images.File
	next    int64
}

// Start implements images.Sink.
func (g *gathering) Start(f images.File, from, _ int64) { g.file, g.next = f, from }

// Write implements images.Sink.
func (g *gathering) Write(b []byte) (int, error) {
	for _, part := range g.run {
		g.content[part] = append(g.content[part], overlap(b, g.next, part)...)
	}
	g.next += int64(len(b))
	return len(b), nil
}

// overlap returns the bytes of b that are in a part, where b begins at the offset from.
func overlap(b []byte, from int64, part images.Range) []byte {
	begin, end := max(0, part.First-from), min(int64(len(b)), part.Last+1-from)
	if begin >= end {
		return nil
	}
	return b[begin:end]
}

// isAscending reports whether each part begins behind the one before it.
func isAscending(parts []images.Range) bool {
	for i := 1; i < len(parts); i++ {
		if parts[i].First <= parts[i-1].Last {
			return false
		}
	}
	return true
}

// ascending returns the parts in the order in which they begin, each once.
func ascending(parts []images.Range) []images.Range {
	sorted := slices.SortedFunc(slices.Values(parts), func(a, b images.Range) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return slices.Compact(sorted)
}

// runsOf groups parts of which each begins at most maxGap bytes behind the ones before
// it. If maxGap is 0, every part is a run of its own.
func runsOf(parts []images.Range, maxGap int64) [][]images.Range {
	var runs [][]images.Range
	begin, last := 0, int64(0)
	for i, part := range parts {
		if i > 0 && (maxGap == 0 || part.First > last+1+maxGap) {
			runs, begin = append(runs, parts[begin:i]), i
		}
		last = max(last, part.Last)
	}
	return append(runs, parts[begin:])
}

// span returns the range from the first byte of a run's parts to the last one.
func span(run []images.Range) *images.Range {
	whole := run[0]
	for _, part := range run {
		whole.Last = max(whole.Last, part.Last)
	}
	return &whole
}

func lengthOf(part images.Range) int64 { return part.Last + 1 - part.First }

// Interface guards
var (
	_ images.Sink = (*byteRanges)(nil)
	_ images.Sink = (*gathering)(nil)
)
