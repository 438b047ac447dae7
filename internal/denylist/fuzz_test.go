package denylist

import (
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

// FuzzParse compares the verdict of a list with that of the last of its lines that has
// one, each parsed as a list of its own.
func FuzzParse(f *testing.F) {
	f.Add(example, "QmUboz9UsQBDeS6Tug1U8jgoFkgYxyYood9NDyVURAY9pK", "blocked/not")
	f.Add("/ipfs/"+aCID+"/*\n!/ipfs/"+inAName+"/a gateway_status:451\n", aCID, "a")
	f.Add("//"+sum(aCID+"/a").B58String()+"\n!//"+strings.TrimPrefix(sum(aCID+"/a").HexString(), "1220"), aCID, "a")
	f.Add("/ipns/example.com/%2a*\n---\n#\n", "example.com", "*")
	f.Fuzz(func(t *testing.T, text, of, path string) {
		if strings.Count(text, "\n") > 50 {
			return // too long to be read once for every line
		}
		l, err := Parse("", strings.NewReader(text))
		if err != nil {
			if l != nil || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 2000 {
				t.Fatalf("%q, and a list %v", err, l != nil)
			}
			return
		}
		subjects := []subject{newName(of)}
		if c, err := cid.Decode(of); err == nil {
			subjects = append(subjects, newContent(c))
		}
		for _, of := range subjects {
			if got, want := l.verdict(of, path), oneByOne(t, text, of, path); got != want {
				t.Fatalf("%+v, want %+v", got, want)
			}
		}
	})
}

// oneByOne returns the verdict of the last line that has one as a list of its own.
func oneByOne(t *testing.T, text string, of subject, path string) Verdict {
	header := ""
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if strings.TrimRight(line, " \t\r\n") == "---" {
			header = strings.Join(lines[:i], "") + "---\n"
			lines = append(make([]string, i+1), lines[i+1:]...)
			break
		}
	}
	for i, line := range slices.Backward(lines) {
		l, err := Parse("", strings.NewReader(header+line))
		if err != nil {
			t.Fatalf("line %d of a list that can be read: %v", i+1, err)
		}
		if v := l.verdict(of, path); v.Line > 0 {
			v.Line = i + 1
			return v
		}
	}
	return Verdict{}
}
