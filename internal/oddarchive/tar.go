package oddarchive

import (
	"bytes"
	"fmt"
	"strconv"
)

// An entry is a file of an archive or a layout: a link, a hard link, a directory, or else
// a regular file.
type entry struct {
	name      string
	data      []byte
	link      string // target of a symbolic link
	hard      string // target of a hard link
	directory bool
}

func regular(name string, data []byte) entry { return entry{name: name, data: data} }
func symlink(name, target string) entry      { return entry{name: name, link: target} }
func hardLink(name, target string) entry     { return entry{name: name, hard: target} }
func directory(name string) entry            { return entry{name: name, directory: true} }

// A header is one block of a tar, which may be invalid. A zero kind means a regular file.
type header struct {
	name, link   string
	kind         byte
	mode         int64
	size         int64
	uid, mtime   string // raw, where octal digits do not do
	magic        string
	major, minor int64
	tail         string // from byte 345: the prefix, or what GNU has there
}

const (
	ustar = "ustar\x0000"
	gnu   = "ustar  \x00"
	v7    = "\x00"
)

const blockSize = 512

func (h header) block() []byte {
	b := make([]byte, blockSize)
	put := func(at int, s string) { copy(b[at:], s) }
	octal := func(at, width int, n int64) { put(at, fmt.Sprintf("%0*o\x00", width-1, n)) }
	if h.kind == 0 {
		h.kind = '0'
	}
	if h.mode == 0 {
		h.mode = 0o644
	}
	if h.magic == "" {
		h.magic = ustar
	}
	put(0, h.name[:min(len(h.name), 100)])
	octal(100, 8, h.mode)
	octal(108, 8, 0)
	put(108, h.uid)
	octal(116, 8, 0)
	octal(124, 12, h.size)
	octal(136, 12, 0)
	put(136, h.mtime)
	put(148, "        ")
	b[156] = h.kind
	put(157, h.link[:min(len(h.link), 100)])
	put(257, h.magic)
	octal(329, 8, h.major)
	octal(337, 8, h.minor)
	put(345, h.tail)
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	put(148, fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// member returns an entry of a tar with its content.
func (h header) member(data []byte) []byte {
	h.size = int64(len(data))
	return append(h.block(), padded(data)...)
}

// withoutSize returns an entry whose header says that it has no content.
func (h header) withoutSize(data []byte) []byte { return append(h.block(), padded(data)...) }

func padded(b []byte) []byte {
	return append(bytes.Clone(b), make([]byte, -len(b)&(blockSize-1))...)
}

// end is the end mark of a tar.
var end = make([]byte, 2*blockSize)

// pax returns an extended header for the entry that follows, or for all that follow
// if it is global.
func pax(global bool, records ...[2]string) []byte {
	var data []byte
	for _, r := range records {
		body := " " + r[0] + "=" + r[1] + "\n"
		n := len(body)
		for len(strconv.Itoa(n))+len(body) != n {
			n = len(strconv.Itoa(n)) + len(body)
		}
		data = append(data, strconv.Itoa(n)+body...)
	}
	if global {
		return header{name: "pax_global_header", kind: 'g'}.member(data)
	}
	return header{name: "PaxHeaders.0/x", kind: 'x'}.member(data)
}

// tarOf returns a tar of the entries, padded to a record of 20 blocks as GNU tar does.
func tarOf(entries []entry) []byte { return tarIn("", entries) }

// tarIn is tarOf with a prefix before all names.
func tarIn(prefix string, entries []entry) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, e.member(prefix, gnu)...)
	}
	b = append(b, end...)
	const record = 20 * blockSize
	return append(b, make([]byte, (record-len(b)%record)%record)...)
}

// member returns an entry with its content.
func (e entry) member(prefix, magic string) []byte {
	h := header{name: prefix + e.name, magic: magic}
	switch {
	case e.directory:
		h.kind, h.mode = '5', 0o755
	case e.link != "":
		h.kind, h.link = '2', e.link
	case e.hard != "":
		h.kind, h.link = '1', prefix+e.hard
	}
	return h.member(e.data)
}

// inOrder joins entries that were made one by one.
func inOrder(members ...[]byte) []byte { return bytes.Join(members, nil) }
