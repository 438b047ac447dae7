package denylist

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// maxFile is the most bytes of a list: some ten million rules.
const maxFile = 1 << 30

// A source is a list's file, and its state at the last look.
type source struct {
	file  string
	allow bool         // whether the file is an allow list
	at    int          // the list's index in snapshot.deny or snapshot.allow
	rules atomic.Int64 // number of rules in force

	read     os.FileInfo // the file when it was last read; nil if it has to be read again
	seen     os.FileInfo // the file at the last look; nil if it was missing
	reported string      // the error that was last reported; empty if the last read succeeded
}

// load reads the file into a snapshot, and returns its number of rules.
func (src *source) load(s *snapshot) (rules int, err error) {
	if src.allow {
		list, err := readFile(src.file, parseRoots)
		if err != nil {
			return 0, err
		}
		s.allow[src.at] = list
		return len(list.sorted), nil
	}
	list, err := readFile(src.file, Parse)
	if err != nil {
		return 0, err
	}
	s.deny[src.at] = list
	return list.Len(), nil
}

// open loads the file for the first time.
func (src *source) open(s *snapshot) error {
	info, err := stat(src.file)
	if err != nil {
		return err
	}
	src.read, src.seen = info, info
	rules, err := src.load(s)
	src.rules.Store(int64(rules))
	return err
}

// report reports a read, but not the same error twice in a row.
func (src *source) report(rules int, err error, report func(string, int, error)) {
	if err == nil {
		src.reported = ""
	} else if src.reported == err.Error() {
		return
	} else {
		src.reported = err.Error()
	}
	report(src.file, rules, err)
}

// stat is os.Stat for regular files of at most maxFile bytes.
func stat(file string) (os.FileInfo, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", file)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, more than a list may have (%d)", file, info.Size(), maxFile)
	}
	return info, nil
}

// isSame reports whether a file has not changed between two looks.
func isSame(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readFile[T any](file string, parse func(file string, r io.Reader) (T, error)) (T, error) {
	var none T
	f, err := os.Open(file)
	if err != nil {
		return none, err
	}
	defer f.Close()
	list, err := parse(file, io.LimitReader(f, maxFile))
	if err != nil {
		return none, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}
