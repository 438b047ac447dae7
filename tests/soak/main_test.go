package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake stands for go test. It fails after a number of commands.
type fake struct {
	t     *testing.T
	mu    sync.Mutex
	left  int
	asked []string
}

var errStopped = errors.New("stopped")

func (f *fake) command(_ context.Context, args ...string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left == 0 {
		return "", errStopped
	}
	f.left--
	line := strings.Join(args, " ")
	f.asked = append(f.asked, line)
	switch {
	case strings.Contains(line, "./tests/push"):
		return "kills_test.go:1: 50 kills, 8 manifests checked, 0 lost\n", nil
	case strings.Contains(line, "-kills="):
		return "kills_test.go:1: 50 kills, 7 images checked, 0 lost\n", nil
	case strings.Contains(line, "-lies="):
		return "matrix_test.go:1: 10 combinations\nmatrix_test.go:2: 10 combinations, 12 lies told\n", nil
	case strings.Contains(line, "-fuzz="):
		return "fuzz: elapsed: 3s, execs: 5 (2/sec)\nfuzz: elapsed: 6s, execs: 11 (2/sec)\nPASS\n", nil
	}
	f.t.Errorf("the test does not know %s", line)
	return "", errStopped
}

func TestSecondRunGoesOnWhereTheFirstStopped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "soak.json")
	fuzzers := []fuzzer{{"./p", "FuzzA"}, {"./p", "FuzzB"}, {"./r", "FuzzA"}}
	const kills = 100
	var asked []string
	for attempt := 0; ; attempt++ {
		p, err := load(file, "abc", 1)
		if err != nil {
			t.Fatal(err)
		}
		f := &fake{t: t, left: 4}
		s := &soak{
			progress: p, command: f.command, out: io.Discard, save: func() error { return p.save(file) },
			kills: kills, fuzzTime: time.Minute, fuzzers: fuzzers, fuzzing: map[fuzzer]bool{},
		}
		err = s.all(t.Context())
		asked = append(asked, f.asked...)
		if err == nil {
			break
		}
		if !errors.Is(err, errStopped) || attempt == 20 {
			t.Fatal(err)
		}
	}
	if want := 2*kills/killBatch + lieParts + len(fuzzers); len(asked) != want {
		t.Errorf("all attempts together ran %d steps, want %d", len(asked), want)
	}
	slices.Sort(asked)
	if once := slices.Compact(slices.Clone(asked)); len(once) != len(asked) {
		t.Errorf("a step ran twice:\n%s", strings.Join(asked, "\n"))
	}
	p, err := load(file, "abc", 2)
	if err != nil {
		t.Fatal(err)
	}
	const want = `Soak at commit abc, seed 1:

| what | done | figures | time |
|---|---|---|---|
| programs killed under load | 100 of 100 | 14 images checked, 0 lost | 0 min |
| programs killed while clients push | 100 of 100 | 16 manifests checked, 0 lost | 0 min |
| lies of gateways, all combinations | 24 of 24 parts | 240 combinations, 288 lies told, 0 wrong answers | 0 min |
| fuzz tests, 1m0s each | 3 of 3 | 33 executions, 0 failures | 3 min |
`
	if got := p.table(kills, len(fuzzers), time.Minute); got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

func TestProgressOfAnotherCommitIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "soak.json")
	if err := (&progress{Commit: "abc"}).save(file); err != nil {
		t.Fatal(err)
	}
	if _, err := load(file, "def", 1); err == nil || !strings.Contains(err.Error(), "is of commit abc") {
		t.Errorf("progress of another commit is loaded: %v", err)
	}
}

func TestFuzzTestsAreFound(t *testing.T) {
	all, err := findFuzzers("../..")
	if err != nil || len(all) < 10 || !slices.Contains(all, fuzzer{"./../../converter", "FuzzArchive"}) {
		t.Errorf("the fuzz tests are %v, %v", all, err)
	}
}
