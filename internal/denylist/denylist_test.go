package denylist

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

func TestRulesDenyEverythingBelowTheirDirectory(t *testing.T) {
	root, dir, file := cid.MustParse(aCID), cid.MustParse(another), numbered(1)
	const path = "team/app/blobs/sha256:0"
	for _, test := range []struct {
		lists  []string
		denied string // by which rule, "" if not
	}{
		{[]string{""}, ""},
		{[]string{"/ipfs/" + another}, "0:1"},
		{[]string{"/ipfs/" + file.String()}, "0:1"},
		{[]string{"/ipfs/" + numbered(2).String()}, ""},
		{[]string{"/ipfs/" + aCID}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/*"}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/team"}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/team/ap"}, ""},
		{[]string{"/ipfs/" + aCID + "/team/ap*"}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/" + path}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/" + path + "/further"}, ""},
		{[]string{"//" + sum(aCID).B58String()}, "0:1"},
		{[]string{"//" + sum(aCID+"/team/app").B58String()}, "0:1"},
		{[]string{"//" + sum(file.Hash().B58String()).B58String()}, "0:1"},

		// By its other path: dir is what team/app resolves to.
		{[]string{"/ipfs/" + another + "/blobs/sha256:0"}, "0:1"},
		{[]string{"/ipfs/" + another + "/blobs"}, "0:1"},
		{[]string{"/ipfs/" + another + "/sha256:0"}, ""},

		// Exceptions reach as far as they say, and from what is before them.
		{[]string{"/ipfs/" + aCID + "\n!/ipfs/" + aCID}, ""},
		{[]string{"/ipfs/" + aCID + "\n!/ipfs/" + aCID + "/team/app"}, ""},
		{[]string{"/ipfs/" + aCID + "\n!/ipfs/" + aCID + "/team/app/*"}, ""},
		{[]string{"/ipfs/" + aCID + "\n!/ipfs/" + aCID + "/team/other*"}, "0:1"},
		{[]string{"!/ipfs/" + aCID + "/team/app/*\n/ipfs/" + aCID}, "0:2"},
		{[]string{"/ipfs/" + aCID + "/*\n!/ipfs/" + aCID}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/*\n!/ipfs/" + aCID + "/team/app"}, "0:1"},
		{[]string{"/ipfs/" + aCID + "/*\n!/ipfs/" + aCID + "/team*"}, ""},
		{[]string{"!/ipfs/" + aCID + "/*\n/ipfs/" + file.String()}, "0:2"},

		// Later lists come later.
		{[]string{"/ipfs/" + aCID, "!/ipfs/" + aCID}, ""},
		{[]string{"!/ipfs/" + aCID, "/ipfs/" + aCID}, "1:1"},
		{[]string{"\n\n!/ipfs/" + aCID + "/*", "/ipfs/" + aCID}, "1:1"},
		{[]string{"\n\n/ipfs/" + aCID, "!/ipfs/" + aCID + "/team*"}, ""},
	} {
		files := write(t, test.lists...)
		l, err := Open(files, nil)
		if err != nil {
			t.Errorf("%q: %v", test.lists, err)
			continue
		}
		for _, spelled := range spellings(t, root) {
			if strings.HasPrefix(test.lists[0], "//") && spelled.Type() != cid.DagProtobuf {
				continue
			}
			err := l.Check(spelled, path, dir, numbered(3), file)
			var denied *Denied
			switch {
			case test.denied == "":
				if err != nil {
					t.Errorf("%q: %s: %v", test.lists, spelled, err)
				}
			case !errors.As(err, &denied):
				t.Errorf("%q: %s: %v", test.lists, spelled, err)
			case denied.Rule() != filepath.Join(filepath.Dir(files[0]), test.denied):
				t.Errorf("%q: %s: denied by %s, want %s", test.lists, spelled, denied.Rule(), test.denied)
			}
		}
	}
}

func TestRulesDenyNamesInEverySpelling(t *testing.T) {
	l, err := Open(write(t, "/ipns/example.com gateway_status=451\n!/ipns/example.com/free"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{"": 451, "app": 451, "/app/manifests/latest/": 451, "free/manifests/latest": 0} {
		var denied *Denied
		err := l.CheckName("Example.com", path)
		if errors.As(err, &denied); (status == 0) != (err == nil) || err != nil && denied.Status != status {
			t.Errorf("%s: %v, want %d", path, err, status)
		}
	}
}

func TestOnlyAllowedRootsThatAreNotDeniedAreServed(t *testing.T) {
	allow := write(t, "# ours\n"+inAName+" # the first\n\n", numbered(1).String()+"\n")
	l, err := Open(write(t, "/ipfs/"+numbered(1).String()), allow)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range spellings(t, cid.MustParse(aCID)) {
		if err := l.Check(c, "app/manifests/latest", numbered(4)); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	var denied *Denied
	if err := l.Check(numbered(1), "app"); !errors.As(err, &denied) {
		t.Errorf("allowed and denied: %v", err)
	}
	if err := l.Check(numbered(2), "app", cid.MustParse(aCID)); err != ErrNotAllowed {
		t.Errorf("not allowed: %v", err)
	}

	nobody, err := Open(nil, write(t, "# nothing yet\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Check(cid.MustParse(aCID), "app"); err != ErrNotAllowed {
		t.Errorf("an empty allow list allows: %v", err)
	}
	var none *Lists
	if err := errors.Join(none.Check(cid.MustParse(aCID), "app"), none.CheckName("example.com", "")); err != nil {
		t.Errorf("no lists: %v", err)
	}
}

func TestErrorsOfOpenNameTheFile(t *testing.T) {
	dir := t.TempDir()
	good, bad, notCID := filepath.Join(dir, "good"), filepath.Join(dir, "bad"), filepath.Join(dir, "not-cid")
	for file, text := range map[string]string{good: "/ipfs/" + aCID, bad: "#\n\nnginx", notCID: aCID + "\n/ipfs/" + aCID} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		deny, allow []string
		want        string
	}{
		{[]string{good, bad}, nil, bad + `: line 3: "nginx": not a rule`},
		{[]string{good, filepath.Join(dir, "absent")}, nil, "absent: no such file"},
		{[]string{dir}, nil, dir + " is not a regular file"},
		{[]string{good}, []string{notCID}, notCID + `: line 2: "/ipfs/` + aCID + `": not a CID`},
		{nil, []string{bad}, bad + `: line 3: "nginx": not a CID`},
	} {
		if _, err := Open(test.deny, test.allow); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

// write writes files with the names 0, 1 and so on.
func write(t testing.TB, lists ...string) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range lists {
		file := filepath.Join(dir, string(rune('0'+i)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}
