package caddymodule

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/cidname"
	"github.com/seed-9e24ebb9/caddy-ipfs-registry/internal/clocktest"
)

func writeList(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Caddy does not start with a list that cannot be read, and the error names the line.
func TestUnreadableList(t *testing.T) {
	t.Setenv("LISTS", filepath.Dir(writeList(t, "#\nnginx")))
	for config, want := range map[string]string{
		`{"deny":["/absent/list"]}`:           "setting up deny and allow lists: stat /absent/list: no such file",
		`{"deny":["{env.LISTS}/list"]}`:       os.Getenv("LISTS") + `/list: line 2: "nginx": not a rule`,
		`{"allow":["{env.LISTS}/list"]}`:      os.Getenv("LISTS") + `/list: line 2: "nginx": not a CID`,
		`{"deny":["{env.NOT_SET_ANYWHERE}"]}`: "invalid file '{env.NOT_SET_ANYWHERE}'",
	} {
		if _, err := provision(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", config, err, want)
		}
	}
}

// A changed list takes effect without a reload. If a list can no longer be read, its old rules
// stay in force, and the log says so once.
func TestListChanges(t *testing.T) {
	file := writeList(t, "")
	root, err := cidname.Parse(aCID)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		core, logs := observer.New(zap.InfoLevel)
		lists, err := openLists(caddy.Context{Context: ctx}, []string{file}, nil, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		replace("/ipfs/" + root.String())
		clocktest.Advance(2 * listsInterval)
		if lists.Check(root, "app") == nil || logs.FilterMessage("list has changed").Len() != 1 {
			t.Errorf("not denied: %v", logs.All())
		}
		replace("nginx")
		clocktest.Advance(10 * listsInterval)
		failed := logs.FilterMessage("list cannot be read, its old rules stay in force").All()
		if lists.Check(root, "app") == nil || len(failed) != 1 || failed[0].Level != zap.ErrorLevel {
			t.Errorf("not denied, or not logged: %v", logs.All())
		}
		cancel()
		synctest.Wait() // for the end of what looks at the list
	})
}
