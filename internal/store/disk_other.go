//go:build !unix

package store

import (
	"errors"
)

const noFollow = 0

var (
	errOtherDisk = errors.New("another file system")
	errNoLocks   []error
)
