//go:build unix

package store

import (
	"syscall"
)

// noFollow makes open fail if the last part of a path is a link.
const noFollow = syscall.O_NOFOLLOW

var (
	errOtherDisk error = syscall.EXDEV
	errNoLocks         = []error{syscall.ENOLCK, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS}
)
