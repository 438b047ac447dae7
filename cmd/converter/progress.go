package main

import (
	"io"
	"os"
	"path"
	"strings"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/blob"
)

// bars show on a terminal how far each file is that is being read, and what is
// said meanwhile above them.
type bars struct {
	*mpb.Progress
	below io.Writer
}

// newBars returns bars on w, or none where w is no terminal.
func newBars(w io.Writer) *bars {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &bars{mpb.New(mpb.WithOutput(f), mpb.WithWidth(40)), f}
}

const nameWidth = 24 // characters beside a bar

// Start is part of converter.Progress.
func (b *bars) Start(name string, size int64) blob.Part {
	return part{b.New(size, mpb.BarStyle().Rbound("|").Lbound("|").Filler("█").Tip("█").Padding(" "),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(shortName(name), decor.WC{W: nameWidth, C: decor.DindentRight})),
		mpb.AppendDecorators(
			decor.CountersKibiByte("% .1f / % .1f", decor.WC{W: 22}),
			decor.AverageSpeed(decor.SizeB1024(0), "% .1f", decor.WC{W: 12}),
		))}
}

// shortName is what tells one file from another: the beginning of its digest, or
// the end of its name.
func shortName(name string) string {
	dir, base := path.Split(path.Clean(name))
	if base == "layer.tar" { // as Docker's old archives call each
		base = path.Base(dir)
	}
	base = strings.TrimPrefix(base, "sha256:")
	if len(base) < nameWidth {
		return base
	}
	return base[:12]
}

type part struct{ *mpb.Bar }

func (p part) Add(n int) { p.IncrBy(n) }

// End takes the bar away if it is not full.
func (p part) End() { p.Abort(true) }
