package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	for registry, want := range map[string]string{
		"http://localhost:5000":         "localhost:5000",
		"https://registry.example.com/": "registry.example.com",
		"registry.example.com":          "registry.example.com",
	} {
		if got, err := parseHost(registry); err != nil || got != want {
			t.Errorf("host(%q) = %q, %v; want %q", registry, got, err, want)
		}
	}
	for _, registry := range []string{"", "/", "registry", "http://registry", "https://Example.COM", "http://u:p@host:5000/x?y", "host:5000/x"} {
		if got, err := parseHost(registry); err == nil {
			t.Errorf("host(%q) = %q, want an error", registry, got)
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("IPFS_API", "")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"nginx"}, "standard input"},
		{[]string{"QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a"}, "is written ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"},
		{[]string{"ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"}, "converter name"},
		{[]string{"docker:nginx"}, "docker://nginx"},
		{[]string{"docker://"}, "names no image"},
		{[]string{"docker://nginx", "-i", "x.tar"}, "not from both"},
		{[]string{"docker://nginx", "docker://redis"}, "at most 1 arg"},
		{[]string{"--platform", "amd64", "docker://nginx"}, "linux/amd64"},
		{[]string{"--store", dir, "oci:" + dir}, "no OCI layout"},
		{[]string{"--store", dir, "oci-archive:" + dir}, "oci:" + dir},
		{[]string{"name", "nginx"}, "not a CID"},
		{[]string{"--nonsense"}, "unknown flag"},
		{[]string{"--store", dir, "--car", "x.car"}, "two places"},
		{[]string{"--store", dir, "--cid-profile", "v2"}, "unixfs-v1-2025"},
		{[]string{"--store", dir, "-i", filepath.Join(dir, "missing.tar")}, "opening the archive"},
		{[]string{"--store", dir}, "the input is empty"},
		{[]string{"--store", ""}, "--store has no value"},
		{[]string{"--ipfs-api-token", "secret", "-i", os.DevNull}, "neither --ipfs-api nor IPFS_API"},
		{[]string{"--car", dir, "-i", os.DevNull}, "not a regular file"},
		{[]string{"--ipfs-api", "/ip4/127.0.0.1/udp/5001"}, "http://127.0.0.1:5001"},
		{[]string{"--car", filepath.Join(dir, "missing", "x.car")}, "x.car"},
	} {
		stdout, err := run(t, test.args...)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error is %v; want one line with %q", test.args, err, test.want)
		}
		if stdout != "" {
			t.Errorf("%q: prints %q", test.args, stdout)
		}
	}
}

func TestName(t *testing.T) {
	stdout, err := run(t, "name", "QmXobd2Bvr2NaLwvWamszFEZQVw9qMh5rJtdx9CSwQWw5a")
	if err != nil || !strings.Contains(stdout, "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi\n") ||
		!strings.Contains(stdout, "bafybeiemubpxrd4g74pzywujnoix6mouqf6culv4jsbaah5foeqlirx7de\n") {
		t.Errorf("prints %q, %v", stdout, err)
	}
}

// A terminal as standard input is refused before anything is read.
func TestTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("no terminal can be had: %v", err)
	}
	defer terminal.Close()
	cmd := newCommand()
	cmd.SetArgs([]string{"--store", t.TempDir()})
	cmd.SetIn(terminal)
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "the input is a terminal") {
		t.Errorf("the error is %v", err)
	}
}

// run runs the program without input and returns its standard output.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stdout bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(""))
	cmd.SetOut(&stdout)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(t.Context())
	return stdout.String(), err
}

// The errors for common mistakes say what to type instead.
func TestErrorsSayWhatIsMeant(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("IPFS_API", "")
	file := filepath.Join(dir, "app.tar")
	if err := os.WriteFile(file, []byte("PK\x03\x04, and more"), 0o600); err != nil {
		t.Fatal(err)
	}
	address := "ciqizic7pchyn7y7trnis24rp4y5jal4fixlytecaap2k4jawrdp6gi"
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{file}, "-i " + file},
		{[]string{"docker-deamon:nginx"}, "did you mean docker-daemon:nginx?"},
		{[]string{"docker-arhcive:app.tar:app:1"}, "did you mean docker-archive:app.tar:app:1?"},
		{[]string{"https://hub.docker.com/_/nginx"}, "docker://hub.docker.com"},
		{[]string{"nginx:1.27"}, "docker://nginx:1.27"},
		{[]string{"imges"}, "did you mean `converter images`?"},
		{[]string{"verfy", address}, "did you mean `converter verify`?"},
		{[]string{"pull", address}, "docker pull localhost:5000/ADDRESS"},
		{[]string{"frobnicate", address}, "no command"},
		{[]string{"--plattform", "linux/amd64"}, "did you mean --platform?"},
		{[]string{"copy", address, "--form", dir}, "did you mean --from?"},
		{[]string{"--nonsense"}, "`converter --help` lists the flags"},
		{[]string{"copy", address, "--gateway", ""}, "--gateway has no value"},
		{[]string{"verify", address, "--store", dir}, "is not in the store in " + dir},
		{[]string{"--store", "x.car", "-i", file}, "--car x.car writes a CAR file"},
		{[]string{"verify", "--store", file}, "--from " + file + " reads one"},
		{[]string{"--store", dir, "-i", file}, file + ": the input is a zip archive, and no image archive: unpack it first, `unzip -p FILE | converter`"},
		{[]string{"--ipfs-api", "127.0.0.1:1", "docker-archive:" + archiveFile(t, dir)}, "127.0.0.1:1: nothing answers there"},
		{[]string{"copy", address, "--from", "127.0.0.1:1", "--store", dir}, "start the node"},
	} {
		got := runConverter(t, "", test.args...)
		if got.status == 0 || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: the error is %s; want %q", test.args, got.stderr, test.want)
		}
	}
}

// archiveFile writes an archive of one image.
func archiveFile(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "image.tar")
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range map[string]string{"config.json": config, "manifest.json": `[{"Config":"config.json","RepoTags":["app:1"],"Layers":[]}]`} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, data)
	}
	w.Close()
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
