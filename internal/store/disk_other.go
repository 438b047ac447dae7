//go:build !unix

package store

import (
	"errors"
	"io/fs"
)

const noFollow = 0

var (
	errOtherDisk = errors.New("another file system")
	errNoLocks   []error
)

// ownerOf reports no owner: on these systems only administrators may make links.
func ownerOf(fs.FileInfo) (int, bool) { return 0, false }
