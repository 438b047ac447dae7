package harness

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// MustRefuse runs a converter command that must fail. It must exit with 1, print
// nothing, and write one line to standard error, which matches the regular expression
// says.
func MustRefuse(t *testing.T, cmd *exec.Cmd, says string) {
	t.Helper()
	stdout, stderr, err := Try(cmd)
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v: %v, want exit status 1", cmd.Args[1:], err)
	}
	if stdout != "" {
		t.Errorf("%v: prints %q", cmd.Args[1:], stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(says).MatchString(stderr) {
		t.Errorf("%v: standard error is %q, want one line that matches %q", cmd.Args[1:], stderr, says)
	}
}

// Convert runs the converter on an archive and returns the line that it prints: a
// reference, or with --no-add a path.
func Convert(t *testing.T, archive string, args ...string) string {
	t.Helper()
	return RunForLine(t, Converter(t, archive, args...))
}

// RunForLine runs a program that must print one line, and returns the line.
func RunForLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout := Run(t, cmd)
	line, rest, _ := strings.Cut(stdout, "\n")
	if line == "" || rest != "" {
		t.Fatalf("%s prints %q, want one line", cmd, stdout)
	}
	return line
}

// Converter returns the converter's command, with an archive as its standard input.
func Converter(t *testing.T, archive string, args ...string) *exec.Cmd {
	t.Helper()
	Need(t, "bin/converter")
	return WithInput(t, exec.Command(InRepo("bin/converter"), args...), archive)
}

var reference = regexp.MustCompile(`^localhost:\d+/(ciq[a-z2-7]{52})/` + ImageName + `$`)

// RootOf returns the address in a reference to ImageName. The reference must have no
// tag: the converter leaves it out for an archive of one image.
func RootOf(t *testing.T, ref string) string {
	t.Helper()
	m := reference.FindStringSubmatch(ref)
	if m == nil {
		t.Fatalf("not a reference to %s: %s", ImageName, ref)
	}
	return m[1]
}

// Copy runs converter copy and returns the reference that it prints.
func Copy(t *testing.T, args ...string) string {
	t.Helper()
	Need(t, "bin/converter")
	return RunForLine(t, exec.Command(InRepo("bin/converter"), append([]string{"copy"}, args...)...))
}

// InStore runs a converter command on a store and returns its standard output.
func InStore(t *testing.T, store string, args ...string) string {
	t.Helper()
	return Run(t, Converter(t, os.DevNull, append(args, "--store="+store)...))
}

// MustVerify runs converter verify, which must report the image complete.
func MustVerify(t *testing.T, ref string, args ...string) {
	t.Helper()
	_, address, _ := strings.Cut(ref, "/")
	line := RunForLine(t, Converter(t, os.DevNull, append([]string{"verify"}, args...)...))
	if !regexp.MustCompile(`^localhost:5000/` + address + `  \d+ blocks, \d+ bytes$`).MatchString(line) {
		t.Errorf("verify %v of %s prints %q", args, ref, line)
	}
}
