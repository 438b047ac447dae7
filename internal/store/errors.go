package store

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrLacking says that something is missing in this store. Another source may have it.
// ErrLacking wraps fs.ErrNotExist.
//
// An error that is fs.ErrNotExist and not ErrLacking is a proof of absence: the
// directory that would name the file is in the store, and does not name it.
var ErrLacking = fmt.Errorf("not in this store: %w", fs.ErrNotExist)

// ErrDamaged says that a file of the store has changed since it was written.
var ErrDamaged = errors.New("damaged")

// An OwnerError says that a store, or a part of it, belongs to another user. Its text names
// the command that helps.
type OwnerError struct{ text string }

func (e *OwnerError) Error() string { return e.text }

// lacking turns the error of reading a file from disk into ErrLacking if the file does
// not exist.
func lacking(err error) error {
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrLacking) {
		return fmt.Errorf("%w: %w", ErrLacking, err)
	}
	return err
}
