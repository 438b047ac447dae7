package caddymodule

import (
	"testing"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/budget"
)

// The memory of the process is limited to the least that a running handler configured,
// and to the default once none does.
func TestLeastMemoryCounts(t *testing.T) {
	var started []*Handler
	for _, step := range []struct {
		config string // of a handler that is started; empty to stop the last one
		want   int64
	}{
		{`{}`, budget.DefaultLimit()},
		{`{"memory": 67108864}`, 64 << 20},
		{`{"memory": 33554432}`, 32 << 20},
		{`{"memory": 134217728}`, 32 << 20},
		{"", 32 << 20},
		{"", 64 << 20},
		{"", budget.DefaultLimit()},
	} {
		if step.config == "" {
			last := started[len(started)-1]
			started = started[:len(started)-1]
			if err := last.Cleanup(); err != nil {
				t.Fatal(err)
			}
		} else {
			h, err := provision(t, step.config)
			if err != nil {
				t.Fatal(err)
			}
			started = append(started, h)
		}
		if got := budget.Process().Limit(); got != step.want {
			t.Errorf("after %q the limit is %d, want %d", step.config, got, step.want)
		}
	}
	if _, err := provision(t, `{"memory": 1000}`); err == nil {
		t.Error("1000 bytes are accepted")
	}
}
