package main

import (
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestQuick"}
{"Action":"output","Package":"p","Test":"TestQuick","Output":"=== RUN   TestQuick\n"}
{"Action":"pass","Package":"p","Test":"TestQuick","Elapsed":0.5}
{"Action":"run","Package":"p","Test":"TestParent"}
{"Action":"run","Package":"p","Test":"TestParent/child"}
{"Action":"output","Package":"p","Test":"TestParent/child","Output":"    a_test.go:1: wrong byte\n"}
{"Action":"fail","Package":"p","Test":"TestParent/child","Elapsed":7}
{"Action":"fail","Package":"p","Test":"TestParent","Elapsed":9}
{"Action":"run","Package":"p","Test":"TestHangs"}
{"Action":"output","Package":"p","Test":"TestHangs","Output":"panic: TestHangs passed its bound\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t16.5s\n"}
{"Action":"fail","Package":"p","Elapsed":16.5}
plain text from a program
{"Action":"start","Package":"q"}
{"Action":"output","Package":"q","Output":"ok  \tq\t1.2s\n"}
{"Action":"pass","Package":"q","Elapsed":1.2}
`

func TestReportShowsFailuresWholeAndTheSlowest(t *testing.T) {
	var out strings.Builder
	failed, err := report(strings.NewReader(events), &out)
	if err != nil || !failed {
		t.Errorf("failed is %v, %v; want true, nil", failed, err)
	}
	const want = `--- PASS: TestQuick (0.50s)
    a_test.go:1: wrong byte
panic: TestHangs passed its bound
FAIL	p	16.5s
plain text from a program
ok  	q	1.2s

The slowest tests:
        7s  p TestParent/child
     500ms  p TestQuick
`
	got := out.String()
	// The line about the package may come before the output of tests that have not ended.
	if got = strings.Replace(got, "FAIL\tp\t16.5s\npanic: TestHangs passed its bound\n", "panic: TestHangs passed its bound\nFAIL\tp\t16.5s\n", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReportOfPassingTestsIsNoFailure(t *testing.T) {
	at := strings.Index(events, "plain text")
	failed, err := report(strings.NewReader(events[at:]), new(strings.Builder))
	if err != nil || failed {
		t.Errorf("failed is %v, %v; want false, nil", failed, err)
	}
}

func TestReportCountsBrokenBuildAsFailure(t *testing.T) {
	var out strings.Builder
	const build = `{"ImportPath":"p","Action":"build-output","Output":"# p\n"}
{"ImportPath":"p","Action":"build-output","Output":"a.go:1: undefined: x\n"}
{"ImportPath":"p","Action":"build-fail"}
`
	failed, err := report(strings.NewReader(build), &out)
	if err != nil || !failed || out.String() != "# p\na.go:1: undefined: x\n" {
		t.Errorf("failed is %v, %v:\n%s", failed, err, out.String())
	}
}
