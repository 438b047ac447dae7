package provide

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/ipns"
)

// A Kind is the form of an answer.
type Kind string

// The kinds.
const (
	KindFile   Kind = "file"
	KindRaw    Kind = "block"
	KindCAR    Kind = "car"
	KindRecord Kind = "record"
)

// The media types of the kinds.
const (
	fileType   = "application/octet-stream"
	rawType    = "application/vnd.ipld.raw"
	carType    = "application/vnd.ipld.car"
	recordType = "application/vnd.ipfs.ipns-record"
)

// A Request is a request that a Provider answers.
type Request struct {
	*http.Request
	Private bool // whether the client may have shown credentials

	Kind Kind
	Root cid.Cid // undefined for a record
	Path string  // slash-separated, below Root
	Name string  // of a record: an IPNS key in base36

	car     carOptions
	invalid error // what the client did wrong
}

// maxPath is how many bytes a path may have.
const maxPath = 4 << 10

// Parse returns the request if a Provider answers it. A Provider answers GET and HEAD of a
// path below /ipfs/<cid>, and of the record of an IPNS key.
func Parse(r *http.Request) (*Request, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, false
	}
	space, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	first, path, _ := strings.Cut(rest, "/")
	query := r.URL.Query()
	kind, parameters, err := kindOf(query.Get("format"), r.Header.Values("Accept"))
	req := &Request{Request: r, Kind: kind, Path: strings.Trim(path, "/"), invalid: err}
	switch space {
	case "ipfs":
		if req.Root, err = parseCID(first); err != nil {
			return nil, false
		}
	case "ipns":
		key, err := ipns.ParseName(first)
		if err != nil || kind != KindRecord {
			return nil, false
		}
		req.Name = ipns.FormatName(key)
	default:
		return nil, false
	}
	if req.invalid == nil {
		req.invalid = req.check(query, parameters)
	}
	return req, true
}

func (r *Request) check(query url.Values, parameters map[string]string) (err error) {
	switch {
	case len(r.Path) > maxPath:
		return &refusal{http.StatusRequestURITooLong, fmt.Sprintf("a path of more than %d bytes", maxPath)}
	case r.Kind == KindRecord && r.Root.Defined():
		return &refusal{http.StatusBadRequest, "only names have records: ask for /ipns/<key>?format=ipns-record"}
	case r.Kind == KindRecord && r.Path != "":
		return &refusal{http.StatusBadRequest, "a record is of a name alone, without a path"}
	case r.Kind == KindCAR:
		r.car, err = parseCAROptions(query, parameters)
	}
	return err
}

// parseCID reads a CID in any spelling.
func parseCID(s string) (cid.Cid, error) {
	if c, err := cidname.Parse(s); err == nil {
		return c, nil
	}
	return cid.Decode(s)
}

// kindOf returns the kind of answer that a client wants, and the parameters of the media type
// in its Accept header. The format in the query comes first.
func kindOf(format string, accept []string) (Kind, map[string]string, error) {
	wanted := map[string]Kind{"": KindFile, "raw": KindRaw, "car": KindCAR, "ipns-record": KindRecord}
	kind, known := wanted[format]
	if !known {
		return KindFile, nil, &refusal{http.StatusNotAcceptable, "this format is not served here: ask for raw, car or ipns-record"}
	}
	types := map[string]Kind{rawType: KindRaw, carType: KindCAR, recordType: KindRecord}
	for mediaType := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, parameters, err := mime.ParseMediaType(mediaType)
		if of, ok := types[name]; err == nil && ok && (format == "" || of == kind) {
			return of, parameters, nil
		}
	}
	return kind, nil, nil
}

// A scope is how much of the content at the end of a path a CAR has.
type scope string

const (
	scopeBlock  scope = "block"  // its first block
	scopeEntity scope = "entity" // all of a file, or of a directory without its entries' blocks
	scopeAll    scope = "all"    // everything below it
)

// carOptions say which blocks a CAR has.
type carOptions struct {
	scope scope
	bytes *byteRange // of a file; nil for all of it
	dups  bool       // whether a block comes each time that it occurs
}

// A byteRange is the value of entity-bytes, both ends included. A negative offset counts
// from the end of the file.
type byteRange struct {
	from, to int64
	isOpen   bool // whether it extends to the end
}

func parseCAROptions(query url.Values, parameters map[string]string) (carOptions, error) {
	option := func(name string) string {
		if v := query.Get("car-" + name); v != "" {
			return v
		}
		return parameters[name]
	}
	o := carOptions{scope: scopeAll}
	if version := option("version"); version != "" && version != "1" {
		return o, &refusal{http.StatusNotAcceptable, "only CARs of version 1 are served here"}
	}
	switch order := option("order"); order {
	case "", "dfs", "unk":
	default:
		return o, &refusal{http.StatusNotAcceptable, "the order of a CAR is dfs or unk"}
	}
	switch dups := option("dups"); dups {
	case "", "n":
	case "y":
		o.dups = true
	default:
		return o, &refusal{http.StatusNotAcceptable, "the dups of a CAR are y or n"}
	}
	switch s := scope(query.Get("dag-scope")); s {
	case "":
	case scopeBlock, scopeEntity, scopeAll:
		o.scope = s
	default:
		return o, &refusal{http.StatusBadRequest, "dag-scope is block, entity or all"}
	}
	if part := query.Get("entity-bytes"); part != "" {
		var err error
		o.scope = scopeEntity
		if o.bytes, err = parseByteRange(part); err != nil {
			return o, err
		}
	}
	// Below hostile directories, a block can occur more often than any server could send it.
	o.dups = o.dups && o.scope != scopeAll
	return o, nil
}

func parseByteRange(s string) (*byteRange, error) {
	malformed := &refusal{http.StatusBadRequest, "entity-bytes must be <from>:<to>: two offsets, or an offset and *"}
	first, last, ok := strings.Cut(s, ":")
	if !ok {
		return nil, malformed
	}
	var part byteRange
	var err error
	if part.from, err = strconv.ParseInt(first, 10, 64); err != nil {
		return nil, malformed
	}
	if part.isOpen = last == "*"; part.isOpen {
		return &part, nil
	}
	if part.to, err = strconv.ParseInt(last, 10, 64); err != nil {
		return nil, malformed
	}
	return &part, nil
}

// of returns the part [from, to) of a file of size bytes, which is empty if no byte is in
// the range. A nil range is the whole file.
func (b *byteRange) of(size int64) (from, to int64) {
	if b == nil {
		return 0, size
	}
	from, to = b.from, size
	if from < 0 {
		from = max(0, size+from)
	}
	if !b.isOpen {
		last := b.to
		if last < 0 {
			last += size
		}
		if last < size {
			to = max(0, last+1)
		}
	}
	return min(from, to), to
}

// String returns the range as in an entity tag.
func (b *byteRange) String() string {
	switch {
	case b == nil:
		return ""
	case b.isOpen:
		return fmt.Sprintf("%d:*", b.from)
	}
	return fmt.Sprintf("%d:%d", b.from, b.to)
}
