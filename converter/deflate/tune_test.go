package deflate

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/converter/align"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano())
}

func TestTune(t *testing.T) {
	b, err := os.ReadFile(os.Getenv("LAYER"))
	if err != nil {
		t.Skip()
	}
	var ps [][]byte
	c := align.NewCutter(func(p []byte) error { ps = append(ps, bytes.Clone(p)); return nil })
	c.Write(b)
	c.Close()
	const g6 = 55768337
	var some [][]byte
	raw := 0
	for i := 0; i < len(ps); i += 10 {
		some = append(some, ps[i])
		raw += len(ps[i])
	}
	if os.Getenv("ALL") != "" {
		some = ps
		raw = len(b)
	}
	type job struct { name string; f func(dst, p []byte) []byte; best time.Duration; total int }
	var jobs []*job
	run := func(name string, f func(dst, p []byte) []byte) { jobs = append(jobs, &job{name, f, time.Hour, 0}) }
	defer func() {
		var dst []byte
		for range 10 {
			for _, j := range jobs {
				j.total = 0
				start := cpu()
				for _, p := range some { dst = j.f(dst[:0], p); j.total += len(dst) }
				j.best = min(j.best, cpu()-start)
			}
		}
		scale := float64(len(b))/float64(raw)
		for _, j := range jobs {
			fmt.Printf("%-52s %.4f  %.2fs\n", j.name, float64(j.total)/g6*scale, j.best.Seconds()*scale)
		}
	}()
	fmt.Println(len(ps))
	if os.Getenv("KP") != "" {
		for _, l := range []int{3, 5, 6, 7} {
			z, _ := gzip.NewWriterLevel(nil, l)
			run(fmt.Sprint("klauspost ", l), func(dst, p []byte) []byte {
				w := bytes.NewBuffer(dst)
				z.Reset(w)
				z.Write(p)
				z.Close()
				return w.Bytes()
			})
		}
	}
	for _, ef := range efforts {
		e := New(ef)
		run(fmt.Sprintf("%+v", ef), e.AppendMember)
	}
}

var efforts = []Effort{
	{Depth: 4, Nice: 16, Lazy: 8, Skip: 6, Insert: 999},
	{Depth: 4, Nice: 16, Lazy: 12, Skip: 6, Insert: 999},
	{Depth: 4, Nice: 16, Lazy: 16, Skip: 6, Insert: 999},
	{Depth: 4, Nice: 16, Lazy: 8, Skip: 5, Insert: 999},
	{Depth: 4, Nice: 32, Lazy: 8, Skip: 6, Insert: 999},
	{Depth: 4, Nice: 12, Lazy: 8, Skip: 6, Insert: 999},
	{Depth: 6, Nice: 16, Lazy: 8, Skip: 6, Insert: 999},
	{Depth: 3, Nice: 16, Lazy: 12, Skip: 6, Insert: 999},
	{Depth: 8, Nice: 32, Lazy: 16, Skip: 6, Insert: 999},
}
