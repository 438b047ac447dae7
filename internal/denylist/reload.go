package denylist

import "errors"

// A File is a list, and how much of it is in force.
type File struct {
	Name  string
	Allow bool // whether it says what is allowed
	Rules int
}

// Files returns the lists, those of what is denied first.
func (l *Lists) Files() []File {
	if l == nil {
		return nil
	}
	files := make([]File, len(l.sources))
	for i, src := range l.sources {
		files[i] = File{src.file, src.allow, int(src.rules.Load())}
	}
	return files
}

// Reload reads all files now, whether they look changed or not, for whoever
// knows that they are complete. What cannot be read leaves in force what was read
// last, and is in the error.
func (l *Lists) Reload() error {
	if l == nil {
		return nil
	}
	l.looking.Lock()
	defer l.looking.Unlock()
	var failed []error
	for _, src := range l.sources {
		info, err := look(src.file)
		src.seen = info
		if _, err = l.reload(src, info, err); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
