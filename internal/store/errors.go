package store

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrLacking says that this store does not have something, which another source
// may have. It wraps fs.ErrNotExist.
//
// An error that is fs.ErrNotExist and not ErrLacking is a proof of absence: the
// directory that would name the file is in the store, and does not name it.
var ErrLacking = fmt.Errorf("not in this store: %w", fs.ErrNotExist)

// ErrDamaged says that a file of the store is not what it was written as.
var ErrDamaged = errors.New("damaged")

// lacking makes the error of reading a file from disk an ErrLacking, if it says
// that the file does not exist.
func lacking(err error) error {
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrLacking) {
		return fmt.Errorf("%w: %w", ErrLacking, err)
	}
	return err
}
