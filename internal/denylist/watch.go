package denylist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// maxFile is the most bytes of a list: some ten million rules.
const maxFile = 1 << 30

// A source is a file, and what is known of it.
type source struct {
	file  string
	allow bool
	load  func(*snapshot) (rules int, err error)
	rules atomic.Int64 // that are in force

	read     os.FileInfo // what the file was like when it was last read
	seen     os.FileInfo // what it was like at the last look, nil if it was not there
	reported string      // what is wrong with it and known to be
}

func (src *source) open(s *snapshot) error {
	info, err := look(src.file)
	if err != nil {
		return err
	}
	src.read, src.seen = info, info
	rules, err := src.load(s)
	src.rules.Store(int64(rules))
	return err
}

// Watch looks at all files again and again, until ctx is done, and takes in those
// that have changed or been replaced. A file is read when it is the same at two
// looks, so that one that is being written is not. What cannot be read then
// leaves in force what was read last. Either is reported, a failure once.
//
// Files are looked at and not subscribed to, since that works in every file
// system, for files that other files replace, and through symbolic links.
func (l *Lists) Watch(ctx context.Context, interval time.Duration, report func(file string, rules int, err error)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.look(report)
		}
	}
}

func (l *Lists) look(report func(file string, rules int, err error)) {
	l.looking.Lock()
	defer l.looking.Unlock()
	for _, src := range l.sources {
		info, err := look(src.file)
		settled := same(info, src.seen)
		src.seen = info
		if !settled || same(info, src.read) {
			continue
		}
		rules, err := l.reload(src, info, err)
		src.report(rules, err, report)
	}
}

// reload takes in a file as it is now, if a look at it found no fault.
func (l *Lists) reload(src *source, info os.FileInfo, err error) (rules int, _ error) {
	src.read = info
	if err == nil {
		current := l.current.Load()
		next := &snapshot{slices.Clone(current.deny), slices.Clone(current.allow)}
		if rules, err = src.load(next); err == nil {
			l.current.Store(next)
			src.rules.Store(int64(rules))
		}
	}
	if _, mayPass := errors.AsType[*fs.PathError](err); mayPass && info != nil {
		src.read = nil // so it is read again although it has not changed
	}
	return rules, err
}

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

// look is os.Stat for what can be read to its end.
func look(file string) (os.FileInfo, error) {
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

func same(a, b os.FileInfo) bool {
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
