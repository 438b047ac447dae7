//go:build unix

package atomicfile

import (
	"io/fs"
	"syscall"
)

// OwnerOf returns the user who owns a file, where the system knows users.
func OwnerOf(info fs.FileInfo) (uid int, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
