package denylist

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Watch looks at all files in every interval until ctx is done, and reads those that
// have changed or were replaced. A file is read once it is the same at two looks, so
// that a file is not read while it is written. If a file cannot be read, the list that
// was read last stays in force. report is called after each read, but once only for
// an error that stays the same.
//
// Watch polls rather than subscribes to changes, since polling works in every file
// system, for replaced files, and through symbolic links.
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

// look looks at all files once.
func (l *Lists) look(report func(file string, rules int, err error)) {
	l.looking.Lock()
	defer l.looking.Unlock()
	for _, src := range l.sources {
		info, err := stat(src.file)
		settled := isSame(info, src.seen)
		src.seen = info
		if !settled || isSame(info, src.read) {
			continue
		}
		rules, err := l.reload(src, info, err)
		src.report(rules, err, report)
	}
}

// Reload reads all files at once, even those that look unchanged. The caller knows
// that the files are complete. If a file cannot be read, the list that was read last
// stays in force, and the error has the reason.
func (l *Lists) Reload() error {
	if l == nil {
		return nil
	}
	l.looking.Lock()
	defer l.looking.Unlock()
	var failed []error
	for _, src := range l.sources {
		info, err := stat(src.file)
		src.seen = info
		if _, err = l.reload(src, info, err); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// reload reads a file and puts its list in force. info and err are those of a look
// just before. It must be called with looking held.
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
	if _, temporary := errors.AsType[*fs.PathError](err); temporary && info != nil {
		src.read = nil // reads an unchanged file again
	}
	return rules, err
}
