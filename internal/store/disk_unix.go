//go:build unix

package store

import (
	"io/fs"
	"syscall"
)

// noFollow makes open fail if the last part of a path is a link.
const noFollow = syscall.O_NOFOLLOW

var (
	errOtherDisk error = syscall.EXDEV
	errNoLocks         = []error{syscall.ENOLCK, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS}
)

// ownerOf returns the user who owns a file.
func ownerOf(info fs.FileInfo) (uid int, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
