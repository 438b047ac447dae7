package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A progress is what was done so far, at one commit.
type progress struct {
	Commit  string            `json:"commit"`
	Seed    uint64            `json:"seed"`   // of the first batch of kills; each other batch has the next one
	Kills   killed            `json:"kills"`  // of programs that pull and convert
	Pushes  killed            `json:"pushes"` // kills of programs that push
	Lies    lied              `json:"lies"`
	Fuzzers map[string]fuzzed `json:"fuzzers"` // by package and name
}

type killed struct {
	Batches int     `json:"batches"`
	Done    int     `json:"done"`
	Checked int     `json:"checked"` // images or manifests
	Seconds float64 `json:"seconds"`
}

type lied struct {
	Parts        int     `json:"parts"` // of lieParts, in order
	Combinations int     `json:"combinations"`
	Told         int     `json:"told"`
	Seconds      float64 `json:"seconds"`
}

type fuzzed struct {
	Seconds    float64 `json:"seconds"`
	Executions int     `json:"executions"`
}

// load reads the progress at a commit, or returns an empty one with the given seed if
// the file does not exist.
func load(file, commit string, seed uint64) (*progress, error) {
	p := &progress{Commit: commit, Seed: seed, Fuzzers: map[string]fuzzed{}}
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if p.Commit != commit {
		return nil, fmt.Errorf("%s is of commit %s, and this is %s: check out that commit to go on, or remove the file to begin again", file, p.Commit, commit)
	}
	return p, nil
}

// save replaces the file.
func (p *progress) save(file string) error {
	content, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".part", append(content, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".part", file)
}

// table returns what was done as a table in Markdown. Every step that is in it ended
// without a failure.
func (p *progress) table(kills, fuzzers int, fuzzTime time.Duration) string {
	executions, done := 0, 0
	for _, f := range p.Fuzzers {
		executions += f.Executions
		if f.Seconds >= fuzzTime.Seconds() {
			done++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Soak at commit %s, seed %d:\n\n", p.Commit, p.Seed)
	b.WriteString("| what | done | figures | time |\n|---|---|---|---|\n")
	fmt.Fprintf(&b, "| programs killed under load | %d of %d | %d images checked, 0 lost | %s |\n", p.Kills.Done, kills, p.Kills.Checked, minutes(p.Kills.Seconds))
	fmt.Fprintf(&b, "| programs killed while clients push | %d of %d | %d manifests checked, 0 lost | %s |\n", p.Pushes.Done, kills, p.Pushes.Checked, minutes(p.Pushes.Seconds))
	fmt.Fprintf(&b, "| lies of gateways, all combinations | %d of %d parts | %d combinations, %d lies told, 0 wrong answers | %s |\n", p.Lies.Parts, lieParts, p.Lies.Combinations, p.Lies.Told, minutes(p.Lies.Seconds))
	fmt.Fprintf(&b, "| fuzz tests, %v each | %d of %d | %d executions, 0 failures | %s |\n", fuzzTime, done, fuzzers, executions, minutes(float64(done)*fuzzTime.Seconds()))
	return b.String()
}

func minutes(seconds float64) string { return fmt.Sprintf("%.0f min", seconds/60) }

// A fuzzer is a fuzz test.
type fuzzer struct{ pkg, name string }

func (f fuzzer) String() string { return path.Base(f.pkg) + "." + f.name }

var aFuzzTest = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// findFuzzers returns the fuzz tests in the Go files below a directory. It reads the
// files, since `go test -list` would build the tests of all packages.
func findFuzzers(dir string) (all []fuzzer, err error) {
	err = filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		code, err := os.ReadFile(file)
		for _, m := range aFuzzTest.FindAllSubmatch(code, -1) {
			all = append(all, fuzzer{"./" + filepath.ToSlash(filepath.Dir(file)), string(m[1])})
		}
		return err
	})
	return all, err
}

var someExecutions = regexp.MustCompile(`execs: (\d+)`)

// lastExecutions returns how often a fuzz test ran its function.
func lastExecutions(output string) (int, error) {
	all := someExecutions.FindAllStringSubmatch(output, -1)
	if len(all) == 0 {
		return 0, fmt.Errorf("no number of executions in\n%s", output)
	}
	return strconv.Atoi(all[len(all)-1][1])
}

// scan reads two numbers from the line of a test's log that has the given format.
func scan(output, format string, first, second *int) error {
	pattern := regexp.MustCompile(strings.ReplaceAll(format, "%d", `(\d+)`))
	m := pattern.FindStringSubmatch(output)
	if m == nil {
		return fmt.Errorf("no line like %q in\n%s", format, output)
	}
	var err1, err2 error
	*first, err1 = strconv.Atoi(m[1])
	*second, err2 = strconv.Atoi(m[2])
	return errors.Join(err1, err2)
}
