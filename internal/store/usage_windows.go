package store

import (
	"os"

	"golang.org/x/sys/windows"
)

// diskSpace returns how many bytes of the volume this process may still take, and how
// many the volume has.
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

// markInUse does nothing: Windows does not remove open files.
func markInUse(*os.File) {}

func isInUse(*os.File) bool { return false }
