package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/oddarchive"
)

// asConverter is set in the environment of the test program where it stands for the
// converter itself.
const asConverter = "TEST_AS_CONVERTER"

func TestMain(m *testing.M) {
	if os.Getenv(asConverter) != "" {
		main()
		return
	}
	os.Setenv("IPFS_API", "")
	os.Exit(m.Run())
}

func TestOddArchives(t *testing.T) {
	t.Parallel()
	for _, c := range oddarchive.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := c.Write(dir); err != nil {
				t.Fatal(err)
			}
			for _, r := range c.Runs {
				t.Run(strings.Join(append(r.Args, r.Stdin), " "), func(t *testing.T) {
					t.Parallel()
					testOddArchive(t, dir, r)
				})
			}
		})
	}
}

func testOddArchive(t *testing.T, dir string, r oddarchive.Run) {
	store := filepath.Join(t.TempDir(), "store")
	args := []string{"--json", "--store", store}
	for _, a := range r.Args {
		args = append(args, oddarchive.In(dir, a))
	}
	stdin := ""
	if r.Stdin != "" {
		stdin = oddarchive.In(dir, r.Stdin)
	}
	convert := runConverter
	if strings.Contains(strings.Join(args, " "), "/dev/stdin") {
		convert = startConverter
	}
	got := convert(t, stdin, args...)
	if r.Want.Refused {
		got.checkRefusal(t, r.Want.Says)
		return
	}
	if got.status != 0 {
		t.Fatalf("exit status %d: %s", got.status, got.stderr)
	}
	for _, words := range r.Want.Says {
		if !strings.Contains(got.stderr, words) {
			t.Errorf("no note says %q: %q", words, got.stderr)
		}
	}
	var result struct {
		Root   string
		Images []struct{ Reference, Name, Tag string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
		t.Fatalf("%v: %s", err, got.stdout)
	}
	var references []string
	for _, i := range result.Images {
		name := i.Name
		if i.Tag != "" {
			name += ":" + i.Tag
		}
		if name == "" { // an image that has a name and no tag is printed with its digest
			_, name, _ = strings.Cut(i.Reference, result.Root)
			name, _, _ = strings.Cut(strings.TrimPrefix(name, "/"), "@")
		}
		references = append(references, name)
	}
	if r.Want.References != nil && !sameElements(references, r.Want.References) {
		t.Errorf("got references %q, want %q", references, r.Want.References)
	}
	for _, args := range [][]string{{"verify", result.Root}, {"verify", "--all"}} {
		if v := runConverter(t, "", append(args, "--store", store)...); v.status != 0 {
			t.Errorf("%q: exit status %d: %s%s", args, v.status, v.stdout, v.stderr)
		}
	}
	exported := exportedBlobs(t, store, result.Root)
	if configs := configsOf(t, exported); !sameElements(configs, r.Want.Configs) {
		t.Errorf("got configs %q, want %q", configs, r.Want.Configs)
	}
	if r.Want.Kept {
		checkKept(t, dir, exported)
	}
}

// checkKept reports blobs that are not in the input.
func checkKept(t *testing.T, dir string, exported map[string][]byte) {
	t.Helper()
	input := inputDigests(t, dir)
	for name := range exported {
		if strings.HasPrefix(name, "blobs/") && !input[filepath.Base(name)] {
			t.Errorf("%s is not in the input", name)
		}
	}
}

type outcome struct {
	stdout, stderr string
	status         int
}

// checkRefusal checks that one line says what is wrong.
func (o outcome) checkRefusal(t *testing.T, says []string) {
	t.Helper()
	if o.status != 1 || o.stdout != "" {
		t.Fatalf("exit status %d, output %q, errors %q; want a refusal", o.status, o.stdout, o.stderr)
	}
	line, rest, _ := strings.Cut(o.stderr, "\n")
	if rest != "" || !strings.HasPrefix(line, "converter: ") {
		t.Errorf("got %q, want one line by the converter", o.stderr)
	}
	for _, words := range says {
		if !strings.Contains(line, words) {
			t.Errorf("%q does not say %q", line, words)
		}
	}
	if strings.Contains(line, "Go value") || strings.Contains(line, "Go struct") {
		t.Errorf("%q speaks of Go's types", line)
	}
}

// runConverter runs the converter with a file, or nothing, on standard input.
func runConverter(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	if stdin == "" {
		stdin = os.DevNull
	}
	in, err := os.Open(stdin)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var stdout, stderr bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	status := execute(t.Context(), cmd)
	return outcome{stdout.String(), stderr.String(), status}
}

// startConverter runs the converter like runConverter, in a process of its own, whose
// /dev/stdin is the file.
func startConverter(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	in, err := os.Open(stdin)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asConverter+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil || !cmd.ProcessState.Exited() {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// exportedBlobs returns the files of the archive that the converter makes of a root.
func exportedBlobs(t *testing.T, store, root string) map[string][]byte {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "exported.tar")
	if e := runConverter(t, "", "export", root, "--store", store, "-o", archive); e.status != 0 {
		t.Fatalf("export: exit status %d: %s", e.status, e.stderr)
	}
	return readTar(t, archive)
}

func readTar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string][]byte{}
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

// configsOf returns the digests of the configs that a layout's index leads to.
func configsOf(t *testing.T, files map[string][]byte) []string {
	t.Helper()
	var configs []string
	var walk func(document []byte)
	walk = func(document []byte) {
		var m struct {
			Config    *struct{ Digest digest.Digest }
			Manifests []struct{ Digest digest.Digest }
		}
		if err := json.Unmarshal(document, &m); err != nil {
			return // a blob that an index names
		}
		if m.Config != nil && m.Config.Digest != "" && !slices.Contains(configs, m.Config.Digest.String()) {
			configs = append(configs, m.Config.Digest.String())
		}
		for _, d := range m.Manifests {
			walk(files["blobs/sha256/"+d.Digest.Encoded()])
		}
	}
	walk(files["index.json"])
	return configs
}

// inputDigests returns the sha256 of all files of a case, and of its archives.
func inputDigests(t *testing.T, dir string) map[string]bool {
	t.Helper()
	digests := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if filepath.Base(path) == "a.tar" {
			for _, data := range readTar(t, path) {
				digests[digest.FromBytes(data).Encoded()] = true
			}
			return nil
		}
		data, err := os.ReadFile(path)
		digests[digest.FromBytes(data).Encoded()] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return digests
}

func sameElements(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
