package oddarchive

import (
	"bytes"
	"compress/bzip2"
	"io"
	"testing"
)

func TestBzip2ArchiveIsTheArchiveOfItsImage(t *testing.T) {
	t.Parallel()
	got, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(bzip2Archive)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, bzip2Plain()) {
		t.Error("testdata/bzip2.tar.bz2 is of another archive: write bzip2Plain() and compress it by `bzip2 -9`")
	}
}

func TestNamesOfCasesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Name] {
			t.Errorf("%q occurs twice", c.Name)
		}
		seen[c.Name] = true
	}
}
