//go:build linux || darwin || freebsd

package store

import (
	"os"
	"syscall"
	"time"
)

// diskSpace returns how many bytes of the file system this process may still take, and
// how many the file system has.
func diskSpace(dir string) (free, size int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	size = int64(st.Bsize) //nolint:unconvert // it is an int32 on macOS
	return int64(st.Bavail) * size, int64(st.Blocks) * size, nil
}

// markInUse marks an open file of the cache as in use until it is closed. It does
// nothing on a file system without locks.
func markInUse(f *os.File) {
	for range 10 {
		if lockNow(f, syscall.LOCK_SH) != syscall.EWOULDBLOCK {
			return
		}
		time.Sleep(100 * time.Microsecond) // an eviction is looking at it
	}
}

// isInUse reports whether a process has marked a file as in use.
func isInUse(f *os.File) bool { return lockNow(f, syscall.LOCK_EX) == syscall.EWOULDBLOCK }

func lockNow(f *os.File, how int) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var locked error
	err = c.Control(func(fd uintptr) { locked = syscall.Flock(int(fd), how|syscall.LOCK_NB) })
	if err != nil {
		return err
	}
	return locked
}
