// Soak runs for hours what the other tests run for minutes: it kills programs under load,
// tries all lies of gateways, and runs every fuzz test. See `make soak`.
//
// It records its progress after each step, in a file. A second run goes on where the
// first one was stopped, at the same commit only. The steps of the four kinds take turns,
// so a run that is stopped early has done some of each. At the end, or when it is
// interrupted, it prints what was done as a table for docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

func main() {
	kills := flag.Int("kills", 1000, "kill programs that pull and convert this many times, and programs that push as often")
	fuzzTime := flag.Duration("fuzztime", 5*time.Minute, "run each fuzz test for this long")
	file := flag.String("progress", "soak.json", "the file that records the progress")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kills, *fuzzTime, *file); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kills int, fuzzTime time.Duration, file string) error {
	commit, err := currentCommit(ctx)
	if err != nil {
		return err
	}
	p, err := load(file, commit, rand.Uint64())
	if err != nil {
		return err
	}
	fuzzers, err := findFuzzers(".")
	if err != nil {
		return err
	}
	s := &soak{
		progress: p, command: goCommand, out: os.Stdout,
		save:  func() error { return p.save(file) },
		kills: kills, fuzzTime: fuzzTime, fuzzers: fuzzers, fuzzing: map[fuzzer]bool{},
	}
	err = s.all(ctx)
	fmt.Printf("\n%s", p.table(kills, len(s.fuzzers), fuzzTime))
	return err
}

// currentCommit returns the hash of the checkout's commit. It fails if the checkout has
// uncommitted changes, since the figures would be of no commit.
func currentCommit(ctx context.Context) (string, error) {
	status, err := exec.CommandContext(ctx, "git", "status", "--porcelain").Output()
	if err != nil {
		return "", fmt.Errorf("git status: %w", err)
	}
	if len(status) > 0 {
		return "", fmt.Errorf("commit or stash these changes first, so that the figures are of a commit:\n%s", status)
	}
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	return strings.TrimSpace(string(head)), err
}

// goCommand runs a command of Go and returns its output. When ctx is done, the command
// and the test that it runs get an interrupt: go test does not pass it on.
func goCommand(ctx context.Context, args ...string) (output string, err error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A soak runs the steps that its progress lacks.
type soak struct {
	command  func(ctx context.Context, args ...string) (output string, err error)
	save     func() error
	out      io.Writer
	kills    int
	fuzzTime time.Duration
	fuzzers  []fuzzer

	mu sync.Mutex // guards the rest
	*progress
	fuzzing map[fuzzer]bool // the fuzz tests that were begun
}

// fuzzedAtOnce is how many fuzz tests run at once. They share all processors.
const fuzzedAtOnce = 2

// all runs steps until none is left.
func (s *soak) all(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return s.take(ctx, s.killSome, s.killPushes, s.tellSomeLies) })
	for range fuzzedAtOnce {
		all.Go(func() error { return s.take(ctx, s.fuzzOne) })
	}
	return all.Wait()
}

// take runs steps of the given kinds in turn, until none is left.
func (s *soak) take(ctx context.Context, kinds ...func(context.Context) (did bool, err error)) error {
	for idle := false; !idle; {
		idle = true
		for _, next := range kinds {
			did, err := next(ctx)
			if ctx.Err() != nil {
				return errors.New("interrupted; the same command goes on from here")
			}
			if err != nil {
				return err
			}
			idle = idle && !did
		}
	}
	return nil
}

// record notes a step that has ended, and saves the progress.
func (s *soak) record(note func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	note()
	return s.save()
}

// killBatch is how many kills a step has.
const killBatch = 50

// killSome kills programs that pull and convert, unless all these kills are done.
func (s *soak) killSome(ctx context.Context) (did bool, err error) {
	return s.kill(ctx, &s.Kills, "./tests/store", "TestKilledProgramsLoseNoImage", "images")
}

// killPushes kills programs that push, unless all these kills are done.
func (s *soak) killPushes(ctx context.Context) (did bool, err error) {
	return s.kill(ctx, &s.Pushes, "./tests/push", "TestKilledPushes", "manifests")
}

// kill runs a test that kills programs, and adds up what the test checked.
func (s *soak) kill(ctx context.Context, k *killed, pkg, test, what string) (did bool, err error) {
	if k.Done >= s.kills {
		return false, nil
	}
	begun := time.Now()
	output, err := s.command(ctx, "test", "-count=1", "-v", "-timeout=3h", pkg, "-run=^"+test+"$",
		fmt.Sprintf("-kills=%d", min(killBatch, s.kills-k.Done)), fmt.Sprintf("-seed=%d", s.Seed+uint64(k.Batches)))
	if err != nil {
		return true, fmt.Errorf("%w\n%s", err, output)
	}
	var done, checked int
	if err := scan(output, "%d kills, %d "+what+" checked", &done, &checked); err != nil {
		return true, err
	}
	return true, s.record(func() {
		k.Batches, k.Done, k.Checked = k.Batches+1, k.Done+done, k.Checked+checked
		k.Seconds += time.Since(begun).Seconds()
		fmt.Fprintf(s.out, "%s: %d of %d kills, %d %s checked\n", test, k.Done, s.kills, k.Checked, what)
	})
}

// lieParts is how many steps the lies have.
const lieParts = 24

// tellSomeLies tries all combinations of some lies, unless all lies are done.
func (s *soak) tellSomeLies(ctx context.Context) (did bool, err error) {
	l := &s.Lies
	if l.Parts >= lieParts {
		return false, nil
	}
	begun := time.Now()
	output, err := s.command(ctx, "test", "-count=1", "-v", "-timeout=7h", "./tests/lies", "-run=^TestNoLieBecomesAWrongAnswer$",
		fmt.Sprintf("-lies=%d/%d", l.Parts+1, lieParts))
	if err != nil {
		return true, fmt.Errorf("%w\n%s", err, output)
	}
	var combinations, lies int
	if err := scan(output, "%d combinations, %d lies told", &combinations, &lies); err != nil {
		return true, err
	}
	return true, s.record(func() {
		l.Parts, l.Combinations, l.Told = l.Parts+1, l.Combinations+combinations, l.Told+lies
		l.Seconds += time.Since(begun).Seconds()
		fmt.Fprintf(s.out, "%d of %d parts of the lies, %d combinations\n", l.Parts, lieParts, l.Combinations)
	})
}

// fuzzOne runs one fuzz test, unless all of them were begun.
func (s *soak) fuzzOne(ctx context.Context) (did bool, err error) {
	f, found := s.nextFuzzer()
	if !found {
		return false, nil
	}
	output, err := s.command(ctx, "test", "-run=^$", "-fuzz=^"+f.name+"$", "-fuzztime="+s.fuzzTime.String(), "-fuzzminimizetime=5x",
		fmt.Sprintf("-parallel=%d", max(1, runtime.NumCPU()/fuzzedAtOnce)), f.pkg)
	if err != nil {
		return true, fmt.Errorf("%w\n%s", err, output)
	}
	executions, err := lastExecutions(output)
	if err != nil {
		return true, err
	}
	return true, s.record(func() {
		s.Fuzzers[f.String()] = fuzzed{s.fuzzTime.Seconds(), executions}
		fmt.Fprintf(s.out, "%s: %d executions in %v\n", f, executions, s.fuzzTime)
	})
}

// nextFuzzer returns a fuzz test that was not begun, and notes that it is.
func (s *soak) nextFuzzer() (f fuzzer, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.fuzzers {
		if s.Fuzzers[f.String()].Seconds < s.fuzzTime.Seconds() && !s.fuzzing[f] {
			s.fuzzing[f] = true
			return f, true
		}
	}
	return fuzzer{}, false
}
