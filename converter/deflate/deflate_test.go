package deflate

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	e := New(Effort{Depth: 6, Nice: 20, Lazy: 10, Skip: 7, Insert: 16})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		n := r.IntN(3000)
		if i%100 == 0 {
			n = r.IntN(1 << 20)
		}
		mask := byte(1<<r.IntN(9) - 1)
		b := make([]byte, n)
		for j := range b {
			b[j] = byte(r.Uint32()) & mask
			if j > 300 && r.IntN(10) == 0 {
				j += copy(b[j:], b[j-1-r.IntN(300):j])
			}
		}
		z := e.AppendMember(nil, b)
		g, err := gzip.NewReader(bytes.NewReader(z))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(g)
		if err != nil || !bytes.Equal(got, b) {
			t.Fatal(fmt.Sprint(i, " ", n, " ", mask, " ", err))
		}
	}
}
