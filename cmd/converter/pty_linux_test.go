package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/layout"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("no terminal can be had: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	var number, unlocked uint32
	for request, value := range map[uintptr]*uint32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// onTerminal returns all that the program writes to a terminal.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	master, terminal := openTerminal(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asConverter+"=1", "IPFS_API=", "TERM=xterm")
	cmd.Stdout, cmd.Stderr = terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	var b bytes.Buffer
	io.Copy(&b, master) // ends with EIO when the program has ended
	cmd.Wait()
	return b.String()
}

// evil is text of a stranger that would set a terminal's title and clipboard, clear its
// screen, and reverse the order of letters.
const evil = "x\x1b]0;pwned\x07\x1b]52;c;cm0gLXJmIH4K\x07\x1b[2J\u009b2J\u202ey\r\nz"

// Names in archives, manifests and records do not reach a terminal with control
// characters: not in progress bars, tables, notes, errors or JSON.
func TestTerminalsGetNoControlCharactersOfStrangers(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("layer ", 1<<20) // so that there is a progress bar
	config := fmt.Sprintf(`{"os":%q,"architecture":"amd64","rootfs":{"diff_ids":[]}}`, "linux")
	files := map[string]map[string]string{
		"bar.tar":   {evil + "/layer": big, "config.json": config, "manifest.json": `[{"Config":"config.json","RepoTags":["app:1"],"Layers":[]}]`},
		"error.tar": {"manifest.json": fmt.Sprintf(`[{"Config":%q,"RepoTags":["app:1"],"Layers":[]}]`, evil)},
		"name.tar":  {"config.json": config, "manifest.json": `[{"Config":"config.json","RepoTags":["ok:1","` + "x\\u001b]0;pwned\\u0007" + `"],"Layers":[]}]`},
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), tarOf(t, content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	images := filepath.Join(dir, "store")
	root := imageIn(t, "app:v1", "--store", images)
	record := filepath.Join(images, "images")
	entries, err := os.ReadDir(record)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	data, err := os.ReadFile(filepath.Join(record, entries[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte(`"tag": "v1"`), []byte(`"tag": "v1\u001b]0;pwned\u0007"`))
	if err := os.WriteFile(filepath.Join(record, entries[0].Name()), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := store.Open(images).Record(root); err != nil || r.Images[0] == (layout.Tagged{}) || !strings.Contains(r.Images[0].Tag, "\x1b") {
		t.Fatalf("the record is %v, %v", r, err)
	}
	for name, args := range map[string][]string{
		"a bar":              {"-i", filepath.Join(dir, "bar.tar"), "--store", filepath.Join(dir, "1")},
		"an error":           {"-i", filepath.Join(dir, "error.tar"), "--store", filepath.Join(dir, "2")},
		"a note":             {"-i", filepath.Join(dir, "name.tar"), "--store", filepath.Join(dir, "3")},
		"JSON":               {"images", "--json", "--store", images},
		"a table":            {"images", "--store", images},
		"references":         {"rm", root.String(), "--store", images},
		"an unknown command": {evil},
		"an unknown flag":    {"--" + evil},
		"a source":           {"docker-daemno:" + evil},
	} {
		got := onTerminal(t, args...)
		if got == "" {
			t.Errorf("%s: nothing is written", name)
		}
		for _, sequence := range []string{"\x1b]", "\x07", "\x1b[2J", "\u009b", "\u202e"} {
			if strings.Contains(got, sequence) {
				t.Errorf("%s: the terminal gets %q in %q", name, sequence, got)
			}
		}
	}
}

// A binary private key is not written to a terminal.
func TestTerminalsGetNoBinaryKey(t *testing.T) {
	dir := t.TempDir()
	key(t, "--store", dir)
	if got := onTerminal(t, "key", "export", "-", "--store", dir); !strings.Contains(got, "the output is a terminal") {
		t.Errorf("the terminal gets %q", got)
	}
}
