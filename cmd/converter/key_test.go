package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/store"
)

func key(t *testing.T, args ...string) string {
	t.Helper()
	stdout, err := run(t, append([]string{"key"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(stdout)
}

func TestKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	name := key(t, "--store", dir)
	if !strings.HasPrefix(name, "k51") || key(t, "--store", dir) != name {
		t.Errorf("the name is %s", name)
	}
}

// An exported key, in each format, gives another store the same name.
func TestKeyGoesToAnotherStore(t *testing.T) {
	dir := t.TempDir()
	name := key(t, "--store", dir)
	for _, format := range []string{protobufFormat, pemFormat} {
		file := filepath.Join(t.TempDir(), "key")
		if printed := key(t, "export", file, "--format", format, "--store", dir); printed != "" {
			t.Errorf("export prints %q", printed)
		}
		if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the file has mode %v, %v", info.Mode(), err)
		}
		other := t.TempDir()
		if got := key(t, "import", file, "--store", other); got != name || key(t, "--store", other) != name {
			t.Errorf("as %s, the key gives the name %s, want %s", format, got, name)
		}
	}
}

func TestExportReplacesNoFile(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if _, err := run(t, "key", "export", file, "--store", dir); err == nil || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("without a key: %v", err)
	}
	key(t, "--store", dir)
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "key", "export", file, "--store", dir); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("error %v", err)
	}
	if data, _ := os.ReadFile(file); string(data) != "precious" {
		t.Errorf("the file has %q", data)
	}
}

func TestExportToStandardOutput(t *testing.T) {
	dir := t.TempDir()
	key(t, "--store", dir)
	if text := key(t, "export", "-", "-f", pemFormat, "--store", dir); !strings.HasPrefix(text, "-----BEGIN PRIVATE KEY-----") {
		t.Errorf("not PEM: %q", text)
	}
	if _, err := run(t, "key", "export", "-", "--format", "jwk", "--store", dir); err == nil || !strings.Contains(err.Error(), pemFormat) {
		t.Errorf("error %v", err)
	}
}

// A key that others may have, or that would replace another one by mistake, is refused.
func TestImportRefusesKeys(t *testing.T) {
	dir, other, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "key")
	name, otherName := key(t, "--store", dir), key(t, "--store", other)
	key(t, "export", file, "--store", dir)
	if _, err := run(t, "key", "import", file, "--store", other); err == nil || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("error %v", err)
	}
	if got := key(t, "--store", other); got != otherName {
		t.Errorf("the name is %s", got)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(file, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, "key", "import", file, "--replace", "--store", other); err == nil || !strings.Contains(err.Error(), "chmod 600 "+file) {
			t.Errorf("error %v", err)
		}
		if err := os.Chmod(file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := key(t, "import", file, "--replace", "--store", other); got != name {
		t.Errorf("import prints %s", got)
	}
	if got := key(t, "import", file, "--store", other); got != name {
		t.Errorf("the same key again: %s", got)
	}
	if err := os.WriteFile(file, []byte("my secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := run(t, "key", "import", file, "--replace", "--store", other)
	if err == nil || !strings.Contains(err.Error(), "not a private key") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

func TestRotateMakesAnotherName(t *testing.T) {
	dir := t.TempDir()
	name := key(t, "--store", dir)
	rotated := key(t, "rotate", "--store", dir)
	if rotated == name || key(t, "--store", dir) != rotated {
		t.Errorf("the name was %s, and is %s", name, rotated)
	}
}

func TestKeyArguments(t *testing.T) {
	for _, args := range [][]string{{"key", "gen"}, {"key", "export"}, {"key", "import"}, {"key", "export", "a", "b"}, {"key", "import", ""}, {"key", "rotate", "a"}, {"key", "--store", ""}} {
		if stdout, err := run(t, args...); err == nil || stdout != "" {
			t.Errorf("%q prints %q", args, stdout)
		}
	}
}

func TestPublish(t *testing.T) {
	dir, _ := storeOf(t, nil)
	if _, err := run(t, "publish", "--store", dir); err == nil || !strings.Contains(err.Error(), "no root of its own") {
		t.Errorf("without a root: %v", err)
	}
	dir = t.TempDir()
	imageIn(t, "app:v1", "--store", dir, "--onto", "root")
	state, err := store.Open(dir).Root().Current()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "publish", "--store", dir); err == nil || !strings.Contains(err.Error(), "has no key") {
		t.Errorf("without a key: %v", err)
	}
	name := key(t, "--store", dir)
	defer func() {
		if err := os.Remove(filepath.Join(dir, "root", "key")); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, "publish", "--store", dir); err == nil || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("with a lost key: %v", err)
		}
	}()
	var before uint64
	for range 2 {
		stdout, err := run(t, "publish", "--json", "--store", dir)
		if err != nil {
			t.Fatal(err)
		}
		var got publishedRecord
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatal(err)
		}
		if got.Name != name || got.Value != "/ipfs/"+state.String() || got.Sequence <= before || got.TTL != 60 || time.Until(got.Expires) < 47*time.Hour {
			t.Errorf("the record is %+v", got)
		}
		before = got.Sequence
	}
	if stdout, err := run(t, "publish", "--store", dir); err != nil || !strings.Contains(stdout, name) || !strings.Contains(stdout, "/ipfs/"+state.String()) {
		t.Errorf("publish prints %q, %v", stdout, err)
	}
}
