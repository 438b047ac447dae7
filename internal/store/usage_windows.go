package store

import (
	"os"

	"golang.org/x/sys/windows"
)

// diskSpace returns how many bytes of the volume are free for us, and how many it
// has.
func diskSpace(dir string) (free, size int64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var available, total uint64
	if err := windows.GetDiskFreeSpaceEx(path, &available, &total, nil); err != nil {
		return 0, 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: dir, Err: err}
	}
	return int64(available), int64(total), nil
}

// markInUse does nothing: Windows removes no file that is open.
func markInUse(*os.File) {}

func isInUse(*os.File) bool { return false }
