package abuse

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ipfs/go-cid"
)

// gatewayAttacks are hostile answers of gateways to ordinary requests.
var gatewayAttacks = []attack{
	{finding: "15", sent: "a gateway that has everything, and gives 64 KiB a second", slow: true, prepare: func(r *arena) func(*stranger) {
		return r.tarpit(func(ctx context.Context) { wait(ctx, time.Second) })
	}},
	{finding: "15a", sent: "a gateway that gives 64 KiB in 25 seconds", slow: true, prepare: func(r *arena) func(*stranger) {
		return r.tarpit(func(ctx context.Context) { wait(ctx, 25*time.Second) })
	}},
	{finding: "15b", sent: "a gateway that gives 64 KiB in 25 seconds, with a cache", store: true, slow: true, prepare: func(r *arena) func(*stranger) {
		return r.tarpit(func(ctx context.Context) { wait(ctx, 25*time.Second) })
	}},
	{finding: "16", sent: "a CAR that does not end, with 40 blocks of 1 MiB that were not requested", large: true, prepare: func(r *arena) func(*stranger) {
		var blocks []link
		for i := range 40 {
			blocks = append(blocks, r.raw(noise(i, 1<<20)))
		}
		return r.cars(func(w http.ResponseWriter) {
			for _, b := range blocks {
				writeSection(w, b.cid.Bytes(), r.dag[string(b.cid.Hash())].data)
			}
		})
	}},
	{finding: "16a", sent: "a CAR with one block of 1 MiB, 40 times", large: true, prepare: func(r *arena) func(*stranger) {
		data := noise(1, 1<<20)
		c := r.raw(data).cid
		return r.cars(func(w http.ResponseWriter) {
			for range 40 {
				writeSection(w, c.Bytes(), data)
			}
		})
	}},
	{finding: "16b", sent: "a CAR with a header of 4 GiB", large: true, prepare: func(r *arena) func(*stranger) {
		return r.cars(func(w http.ResponseWriter) {
			w.Write([]byte{0x80, 0x80, 0x80, 0x80, 0x10})
			w.Write(zeros[:])
		})
	}},
	{finding: "16c", sent: "a CAR with a block of 4 GiB", large: true, prepare: func(r *arena) func(*stranger) {
		c := r.raw([]byte("x")).cid
		return r.cars(func(w http.ResponseWriter) {
			w.Write([]byte{0x80, 0x80, 0x80, 0x80, 0x10})
			w.Write(c.Bytes())
			w.Write(zeros[:])
		})
	}},
	{finding: "16d", sent: "a CAR with 16 blocks of 1 MiB that the root links to, before what was asked for", large: true, prepare: func(r *arena) func(*stranger) {
		var entries []link
		for i := range 16 {
			entries = append(entries, r.raw(noise(i, 1<<20)).named(fmt.Sprintf("n%d", i)))
		}
		root := r.directory(append(entries, r.directory(r.small(manifestOf()).named("v1")).named("manifests"))...)
		r.gateway.instead = func(w http.ResponseWriter, q *http.Request, c cid.Cid) bool {
			if q.URL.Query().Get("format") != "car" || c != root.cid {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.ipld.car")
			writeSection(w, carHeader(c))
			writeSection(w, c.Bytes(), r.dag[string(c.Hash())].data)
			for _, e := range entries {
				writeSection(w, e.cid.Bytes(), r.dag[string(e.cid.Hash())].data)
			}
			http.NewResponseController(w).Flush()
			<-q.Context().Done()
			return true
		}
		return func(s *stranger) { s.get("/v2/" + root.cid.String() + "/manifests/v1") }
	}},
	{finding: "16e", sent: "a CAR with 1,000 blocks of one byte after a directory of 2 MiB that links to none", large: true, prepare: func(r *arena) func(*stranger) {
		root := r.wide(40_000, "%044d")
		r.gateway.instead = func(w http.ResponseWriter, q *http.Request, c cid.Cid) bool {
			if q.URL.Query().Get("format") != "car" {
				return false
			}
			w.Header().Set("Content-Type", "application/vnd.ipld.car")
			writeSection(w, carHeader(c))
			writeSection(w, c.Bytes(), r.dag[string(c.Hash())].data)
			for i := range 1000 {
				data := fmt.Appendf(nil, "%d", i)
				writeSection(w, sum(cid.Raw, 0x12, data).Bytes(), data)
			}
			return true
		}
		image := r.directory(root.named("manifests"), root.named("blobs"))
		return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/tags/list") }
	}},
	{finding: "16f", sent: "a raw block of 1 GiB", large: true, prepare: func(r *arena) func(*stranger) {
		image := r.image(nil, nil)
		r.gateway.instead = func(w http.ResponseWriter, q *http.Request, _ cid.Cid) bool {
			if q.URL.Query().Get("format") != "raw" {
				http.Error(w, "raw blocks only", http.StatusNotAcceptable)
				return true
			}
			w.Header().Set("Content-Type", "application/vnd.ipld.raw")
			part := make([]byte, 1<<20)
			for range 1024 {
				if _, err := w.Write(part); err != nil {
					break
				}
			}
			return true
		}
		return func(s *stranger) { s.get("/v2/" + image.cid.String() + "/tags/list") }
	}},
}

var zeros [32 << 20]byte

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// tarpit makes the gateway give what the honest one gives, 64 KiB at a time. Its client
// does nothing: the honest client is the one that is attacked.
func (r *arena) tarpit(pause func(context.Context)) func(*stranger) {
	honest, _ := honestDAG()
	r.gateway.dag = honest
	r.gateway.pause = func(ctx context.Context) {
		if r.attacking.Load() {
			pause(ctx)
		}
	}
	r.gateway.rate = honestRate
	return func(s *stranger) { <-s.ctx.Done() }
}

// cars makes the gateway answer with CARs that do not end, after what write writes.
func (r *arena) cars(write func(http.ResponseWriter)) func(*stranger) {
	image := r.image([]link{r.small(manifestOf()).named("v1")}, nil)
	r.gateway.instead = func(w http.ResponseWriter, q *http.Request, c cid.Cid) bool {
		if q.URL.Query().Get("format") != "car" {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.ipld.car")
		writeSection(w, carHeader(c))
		write(w)
		http.NewResponseController(w).Flush()
		<-q.Context().Done()
		return true
	}
	return func(s *stranger) {
		s.asked++
		s.get(fmt.Sprintf("/v2/%s/manifests/v%d", image.cid, 1+s.asked%2))
	}
}
