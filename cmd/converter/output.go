package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/distribution/reference"
	"github.com/dustin/go-humanize"
	"github.com/ipfs/go-cid"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
)

// An output says how results, progress and messages are printed.
type output struct {
	registry string
	quiet    bool
	json     bool

	host     string    // that references begin with
	bars     *bars     // nil if there are none
	messages io.Writer // nil if there are none
}

func (o *output) register(fs *pflag.FlagSet) {
	registerRegistry(fs, &o.registry)
	fs.BoolVar(&o.json, "json", false, "print everything known about the images as JSON")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "print only references and errors")
}

func registerRegistry(fs *pflag.FlagSet, registry *string) {
	fs.StringVarP(registry, "registry", "r", "http://localhost:5000", "registry `URL` that the printed references begin with")
}

// start checks the flags. From then on, until stop, messages and progress are
// shown on w.
func (o *output) start(w io.Writer) (err error) {
	if o.host, err = parseHost(o.registry); err != nil || o.quiet {
		return err
	}
	o.messages = w
	if o.bars = newBars(w); o.bars != nil {
		o.messages = o.bars
	}
	return nil
}

// stop removes the progress bars, if there are any. It may be called twice.
func (o *output) stop() {
	if o.bars != nil {
		o.bars.Shutdown()
		o.messages, o.bars = o.bars.below, nil
	}
}

// quickToCount is up to how many blobs of a store are compared, unasked, to say
// how much of a result is new.
const quickToCount = 1000

// mostCounted returns up to how many blobs of a store are compared, to say how much of
// a result is new.
func (o *output) mostCounted() int {
	switch {
	case o.json:
		return math.MaxInt
	case o.quiet:
		return 0
	}
	return quickToCount
}

// progress returns what shows how far files have been read, or nil.
func (o *output) progress() blob.Progress {
	if o.bars == nil {
		return nil
	}
	return o.bars
}

// logf prints a message that is not a result, one line for each call.
func (o *output) logf(format string, args ...any) {
	if o.messages != nil {
		logTo(o.messages)(format, args...)
	}
}

// print prints where the images are stored, and one reference on each line: the
// root's, if no images are known.
func (o *output) print(w io.Writer, result *converter.Result, where string) error {
	o.stop()
	references, err := result.References(o.host)
	if err != nil {
		return err
	}
	if len(references) == 0 {
		references = []string{rootReference(o.host, result.Root)}
	}
	if o.json {
		return o.printJSON(w, result, references, where)
	}
	o.logf("stored in %s: %s", where, describeSize(result))
	for _, ref := range references {
		if _, err := fmt.Fprintln(w, oneLine(ref)); err != nil {
			return err
		}
	}
	return nil
}

// describeSize says how much a result is and how much of it is new. The rest is shared:
// the destination had it, or the images have it more than once.
func describeSize(result *converter.Result) string {
	size := formatSize(result.Bytes)
	switch {
	case result.Reused < 0:
		return size
	case result.Reused == 0:
		return size + ", all of it new"
	}
	return fmt.Sprintf("%s, of which %s are new and the rest is shared", size, formatSize(result.Bytes-result.Reused))
}

// rootReference returns what to pull of a root whose images are not known. A root that
// cannot be pulled is a CID alone.
func rootReference(host string, root cid.Cid) string {
	if name, err := cidname.Format(root); err == nil {
		return host + "/" + name
	}
	return root.String()
}

// A resultJSON is what --json prints of a result.
type resultJSON struct {
	Root     string      `json:"root"` // as image names spell it
	CIDs     []string    `json:"cids"` // all spellings of the root
	StoredIn string      `json:"storedIn"`
	Bytes    int64       `json:"bytes"`                 // of all blobs below the root
	New      *int64      `json:"newBytes,omitempty"`    // of those, in leaves that were not there before, each once
	Reused   *int64      `json:"reusedBytes,omitempty"` // the others
	Images   []imageJSON `json:"images"`
}

type imageJSON struct {
	Reference string        `json:"reference"` // to pull
	Name      string        `json:"name,omitempty"`
	Tag       string        `json:"tag,omitempty"`
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"` // bytes of everything that a pull fetches
}

func (o *output) printJSON(w io.Writer, result *converter.Result, references []string, where string) error {
	cids, err := spellings(result.Root)
	if err != nil {
		return err
	}
	out := resultJSON{Root: cids[0], CIDs: cids, StoredIn: where, Bytes: result.Bytes, Images: []imageJSON{}}
	if result.Reused >= 0 {
		added := result.Bytes - result.Reused
		out.New, out.Reused = &added, &result.Reused
	}
	for i, img := range result.Images {
		out.Images = append(out.Images, imageJSON{references[i], img.Name, img.Tag, img.MediaType, img.Digest, result.Sizes[i]})
	}
	return printJSON(w, out, "")
}

// spellings returns all ways to write a CID, the one for image names first.
func spellings(c cid.Cid) ([]string, error) {
	all, err := cidname.Spellings(c)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.Text
	}
	return texts, nil
}

func formatSize(bytes int64) string { return humanize.Bytes(uint64(bytes)) }

// parseHost returns the host of a registry's URL, as references begin.
func parseHost(registry string) (string, error) {
	host := registry
	if _, rest, found := strings.Cut(registry, "://"); found {
		host = rest
	}
	host = strings.TrimRight(host, "/")
	named, err := reference.ParseNormalizedNamed(host + "/image")
	if err != nil || reference.Domain(named) != host || host != strings.ToLower(host) {
		return "", fmt.Errorf("--registry %q cannot begin a reference: give a host name with a dot or a port, in lower case and without a path, such as localhost:5000", registry)
	}
	return host, nil
}
