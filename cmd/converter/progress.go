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

// bars show on a terminal how much of each file has been read. Messages appear
// above them.
type bars struct {
	*mpb.Progress
	below io.Writer
}

// newBars returns progress bars on w, or nil if w is not a terminal.
func newBars(w io.Writer) *bars {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return &bars{mpb.New(mpb.WithOutput(f), mpb.WithWidth(40)), f}
}

const nameWidth = 24 // characters beside a bar

// Start is part of blob.Progress.
func (b *bars) Start(name string, size int64) blob.Part {
	return part{b.New(size, mpb.BarStyle().Rbound("|").Lbound("|").Filler("█").Tip("█").Padding(" "),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(shortName(name), decor.WC{W: nameWidth, C: decor.DindentRight})),
		mpb.AppendDecorators(
			decor.CountersKibiByte("% .1f / % .1f", decor.WC{W: 22}),
			decor.AverageSpeed(decor.SizeB1024(0), "% .1f", decor.WC{W: 12}),
		))}
}

// shortName returns what tells one file from another: the beginning of its digest,
// or the end of its name. Names come from archives and from IPFS.
func shortName(name string) string {
	dir, base := path.Split(path.Clean(oneLine(name)))
	if base == "layer.tar" { // as old archives of Docker name every layer
		base = path.Base(dir)
	}
	base = strings.TrimPrefix(base, "sha256:")
	if runes := []rune(base); len(runes) >= nameWidth {
		return string(runes[:12])
	}
	return base
}

type part struct{ *mpb.Bar }

func (p part) Add(n int) { p.IncrBy(n) }

// End removes the bar, which may not be full.
func (p part) End() { p.Abort(true) }
