package platform

import "testing"

func TestParse(t *testing.T) {
	for s, want := range map[string]Platform{
		"linux/amd64":     {OS: "linux", Architecture: "amd64"},
		"Linux/x86_64":    {OS: "linux", Architecture: "amd64"},
		"linux/aarch64":   {OS: "linux", Architecture: "arm64"},
		"linux/arm64/v8":  {OS: "linux", Architecture: "arm64", Variant: "v8"},
		"windows/amd64":   {OS: "windows", Architecture: "amd64"},
		"linux/arm/v7":    {OS: "linux", Architecture: "arm", Variant: "v7"},
		"freebsd/riscv64": {OS: "freebsd", Architecture: "riscv64"},
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

// Without a variant, the usual one is chosen if it is present, and any other otherwise.
func TestChoose(t *testing.T) {
	v5, v6, v7 := Platform{OS: "linux", Architecture: "arm", Variant: "v5"}, Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	arm, amd64 := Platform{OS: "linux", Architecture: "arm"}, Platform{OS: "linux", Architecture: "amd64"}
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
