package platform

import "testing"

func TestParse(t *testing.T) {
	for s, want := range map[string]Platform{
		"linux/amd64":     {"linux", "amd64", ""},
		"Linux/x86_64":    {"linux", "amd64", ""},
		"linux/aarch64":   {"linux", "arm64", ""},
		"linux/arm64/v8":  {"linux", "arm64", "v8"},
		"windows/amd64":   {"windows", "amd64", ""},
		"linux/arm/v7":    {"linux", "arm", "v7"},
		"freebsd/riscv64": {"freebsd", "riscv64", ""},
	} {
		if p, err := Parse(s); err != nil || *p != want {
			t.Errorf("%q is the platform %v, %v; want %s", s, p, err, want)
		}
	}
	for _, s := range []string{"", "linux", "linux/", "/amd64", "a/b/c/d"} {
		if p, err := Parse(s); err == nil {
			t.Errorf("%q is the platform %s", s, p)
		}
	}
}

// Who names no variant wants the usual one, if it is there, and takes any.
func TestChoose(t *testing.T) {
	v5, v6, v7 := Platform{"linux", "arm", "v5"}, Platform{"linux", "arm", "v6"}, Platform{"linux", "arm", "v7"}
	arm, amd64 := Platform{"linux", "arm", ""}, Platform{"linux", "amd64", ""}
	for _, test := range []struct {
		all    []Platform
		wanted Platform
		want   int
	}{
		{[]Platform{v5, v6, v7}, arm, 2},
		{[]Platform{v6, arm}, v7, 1},
		{[]Platform{v6, v5}, arm, 0},
		{[]Platform{v6, v5}, v7, -1},
		{[]Platform{arm}, v6, -1},
		{[]Platform{arm, amd64}, amd64, 1},
		{nil, amd64, -1},
	} {
		if got := Choose(test.all, test.wanted); got != test.want {
			t.Errorf("of %v, %d serves who wants %s; want %d", test.all, got, test.wanted, test.want)
		}
	}
}
