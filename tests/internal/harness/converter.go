package harness

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// MustRefuse runs the converter, which must say one line that matches, print no
// reference, and exit with 1.
func MustRefuse(t *testing.T, cmd *exec.Cmd, says string) {
	t.Helper()
	stdout, stderr, _ := Try(cmd)
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("%v: exit code %d, not 1", cmd.Args[1:], code)
	}
	if stdout != "" {
		t.Errorf("%v: printed %q", cmd.Args[1:], stdout)
	}
	if strings.Count(stderr, "\n") != 1 || !regexp.MustCompile(says).MatchString(stderr) {
		t.Errorf("%v: said %q, not one line about %q", cmd.Args[1:], stderr, says)
	}
}

// Convert runs the converter on an archive and gives back the one line that it
// prints, which the arguments make a path or a reference.
func Convert(t *testing.T, archive string, args ...string) string {
	t.Helper()
	return RunForLine(t, Converter(t, archive, args...))
}

// RunForLine runs a program that prints one line.
func RunForLine(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout := Run(t, cmd)
	line, rest, _ := strings.Cut(stdout, "\n")
	if line == "" || rest != "" {
		t.Fatalf("%s printed %q, not one line", cmd, stdout)
	}
	return line
}

// Converter is the program, with an archive for its standard input.
func Converter(t *testing.T, archive string, args ...string) *exec.Cmd {
	t.Helper()
	Need(t, "bin/converter")
	return WithInput(t, exec.Command(InRepo("bin/converter"), args...), archive)
}

var reference = regexp.MustCompile(`^localhost:\d+/(ciq[a-z2-7]{52})/` + ImageName + `$`)

// RootOf is the address in the reference of the image, which has no tag, since it
// was alone in its archive.
func RootOf(t *testing.T, ref string) string {
	t.Helper()
	m := reference.FindStringSubmatch(ref)
	if m == nil {
		t.Fatalf("not a reference of %s: %s", ImageName, ref)
	}
	return m[1]
}

// Copy runs converter copy and gives back the reference that it prints.
func Copy(t *testing.T, args ...string) string {
	t.Helper()
	Need(t, "bin/converter")
	return RunForLine(t, exec.Command(InRepo("bin/converter"), append([]string{"copy"}, args...)...))
}

// InStore runs a command of the converter on a store.
func InStore(t *testing.T, store string, args ...string) string {
	t.Helper()
	return Run(t, Converter(t, os.DevNull, append(args, "--store="+store)...))
}

// MustVerify runs converter verify, which must print one line for the image.
func MustVerify(t *testing.T, ref string, args ...string) {
	t.Helper()
	_, address, _ := strings.Cut(ref, "/")
	line := RunForLine(t, Converter(t, os.DevNull, append([]string{"verify"}, args...)...))
	if !regexp.MustCompile(`^localhost:5000/` + address + `  \d+ blocks, \d+ bytes$`).MatchString(line) {
		t.Errorf("verify %v of %s prints %q", args, ref, line)
	}
}
