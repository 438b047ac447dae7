// Report prints the output of `go test -json` for people:
//
//	go test -json ./... | go run ./tests/report
//
// A test that passes is one line. A test that fails or is skipped is printed with all of
// its output. The lines about packages are those of go test. At the end are the ten
// slowest tests. The exit code is 1 if anything failed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	failed, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// An event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// A testName is unique among all packages.
type testName struct{ pkg, test string }

func (n testName) String() string { return n.pkg + " " + n.test }

// A stream is the state of reading a stream of events.
type stream struct {
	out     io.Writer
	running map[testName][]string // the output so far of tests that have not ended
	slow    []timing
	failed  bool
}

type timing struct {
	test    testName
	seconds float64
}

// report prints a stream of events as text, and reports whether anything failed.
func report(in io.Reader, out io.Writer) (failed bool, err error) {
	s := &stream{out: out, running: map[testName][]string{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil || e.Action == "" {
				out.Write(line) // not an event, but output of a program that go test started
			} else {
				s.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.failed, fmt.Errorf("reading the events of go test: %w", err)
		}
	}
	s.showSlowest(10)
	return s.failed, nil
}

func (s *stream) add(e event) {
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "run":
		s.running[name] = nil
	case "output", "build-output":
		if strings.HasPrefix(e.Output, "=== ") {
			return // RUN, PAUSE, CONT and NAME, which are for the output of tests as they run
		}
		if _, running := s.running[name]; running {
			s.running[name] = append(s.running[name], e.Output)
		} else if e.Output != "PASS\n" {
			io.WriteString(s.out, e.Output)
		}
	case "build-fail":
		s.failed = true
	case "pass", "fail", "skip":
		s.end(name, e)
	}
}

func (s *stream) end(name testName, e event) {
	s.failed = s.failed || e.Action == "fail"
	if e.Test == "" {
		s.endPackage(e.Package)
		return
	}
	output := s.running[name]
	delete(s.running, name)
	if e.Action != "pass" {
		io.WriteString(s.out, strings.Join(output, ""))
	} else if !strings.Contains(e.Test, "/") {
		fmt.Fprintf(s.out, "--- PASS: %s (%.2fs)\n", e.Test, e.Elapsed)
	}
	s.slow = append(s.slow, timing{name, e.Elapsed})
}

// endPackage prints the tests that have not ended: if a package panicked or exceeded its
// timeout, the reason is in their output.
func (s *stream) endPackage(pkg string) {
	for _, name := range slices.SortedFunc(maps.Keys(s.running), func(a, b testName) int { return strings.Compare(a.test, b.test) }) {
		if name.pkg == pkg {
			io.WriteString(s.out, strings.Join(s.running[name], ""))
			delete(s.running, name)
		}
	}
}

// showSlowest prints the n tests that took longest. It leaves out tests with subtests,
// whose time is mostly that of the subtests.
func (s *stream) showSlowest(n int) {
	parents := map[testName]bool{}
	for _, t := range s.slow {
		for at := strings.LastIndexByte(t.test.test, '/'); at > 0; at = strings.LastIndexByte(t.test.test[:at], '/') {
			parents[testName{t.test.pkg, t.test.test[:at]}] = true
		}
	}
	s.slow = slices.DeleteFunc(s.slow, func(t timing) bool { return parents[t.test] })
	slices.SortStableFunc(s.slow, func(a, b timing) int { return cmp.Compare(b.seconds, a.seconds) })
	if len(s.slow) == 0 {
		return
	}
	fmt.Fprintln(s.out, "\nThe slowest tests:")
	for _, t := range s.slow[:min(n, len(s.slow))] {
		duration := time.Duration(t.seconds * float64(time.Second)).Round(10 * time.Millisecond)
		fmt.Fprintf(s.out, "%10s  %s\n", duration, t.test)
	}
}
