package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"
)

// A logFile is the open log of a root.
type logFile struct {
	*os.File
	size int64 // bytes, when it was opened
}

// A logLine is a line of the log without its newline, or the bytes behind the last newline.
type logLine struct {
	text  []byte
	start int64 // the offset of its first byte
}

// openLog opens the log. If it is opened for writing, and does not exist, openLog makes it.
func (r *Root) openLog(flag int) (*logFile, error) {
	var mode fs.FileMode
	if flag != os.O_RDONLY {
		flag |= os.O_CREATE
		var err error
		if mode, err = r.mode(); err != nil {
			return nil, err
		}
	}
	f := new(logFile)
	err := r.store.within(r.path("log"), func(dir *os.Root, name string) (err error) {
		f.File, err = dir.OpenFile(name, flag, mode)
		return err
	})
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file: %w", r.path("log"), ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.size = info.Size()
	return f, nil
}

// eachLineBack calls visit with the lines of the log, the last one first, until it returns
// false. The first call is for the bytes behind the last newline, of which a log that is
// whole has none.
func (f *logFile) eachLineBack(visit func(logLine) (more bool, err error)) error {
	const chunk = 64 << 10
	var buf []byte // the file's bytes from at to the end of the next line
	at := f.size
	for {
		i := bytes.LastIndexByte(buf, '\n')
		if i < 0 && at > 0 {
			if len(buf) > maxLine {
				return fmt.Errorf("%w: a line has more than %d bytes", ErrDamaged, maxLine)
			}
			before := make([]byte, min(chunk, at))
			at -= int64(len(before))
			if _, err := f.ReadAt(before, at); err != nil && err != io.EOF {
				return err
			}
			buf = append(before, buf...)
			continue
		}
		more, err := visit(logLine{buf[i+1:], at + int64(i+1)})
		if err != nil || !more || i < 0 {
			return err
		}
		buf = buf[:i]
	}
}

// maxUnderWay is how many changes other processes may make while a reader looks at the log.
const maxUnderWay = 64

// lineOf returns where the newest line of a state begins, or -1 if that is none of the last
// lines.
func (f *logFile) lineOf(state cid.Cid) (start int64, err error) {
	start, seen := int64(-1), 0
	err = f.eachLineBack(func(l logLine) (bool, error) {
		if s, err := parseState(l.text); err == nil && s.Root.Equals(state) {
			start = l.start
		}
		seen++
		return start < 0 && seen <= maxUnderWay, nil
	})
	return start, err
}

// mend removes what a killed process left at the end of the log: a part of a line, or the
// line of a change that did not happen. Only the process that changes the root may call it.
func (f *logFile) mend(current cid.Cid) error {
	var ends []logLine // what is behind the last newline, and the last two lines
	err := f.eachLineBack(func(l logLine) (bool, error) {
		ends = append(ends, l)
		return len(ends) < 3, nil
	})
	if err != nil {
		return err
	}
	whole := ends[0].start
	if last := ends[1:]; len(last) > 0 && !happened(last, current) {
		whole = last[0].start
	}
	if whole == f.size {
		return nil
	}
	return f.cut(whole)
}

// happened reports whether the change of the last line of the log made the current state, or
// is not known to have failed: another process may have put the current state there.
func happened(last []logLine, current cid.Cid) bool {
	s, err := parseState(last[0].text)
	if err != nil {
		return false
	}
	if s.Root.Equals(current) {
		return true
	}
	if len(last) == 1 {
		return current.Defined()
	}
	before, err := parseState(last[1].text)
	return err != nil || !before.Root.Equals(current)
}

// cut makes the log end after size bytes.
func (f *logFile) cut(size int64) error {
	f.size = size
	return errors.Join(f.Truncate(size), f.Sync())
}

// append adds a line, durably. If it fails, it leaves the log as it was.
func (f *logFile) append(line []byte) error {
	_, err := f.WriteAt(line, f.size)
	if err = errors.Join(err, f.Sync()); err != nil {
		return errors.Join(err, f.cut(f.size))
	}
	return nil
}
