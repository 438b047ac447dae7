//go:build !linux && !darwin && !freebsd && !windows

package store

import (
	"errors"
	"os"
)

// diskSpace is not known on this system.
func diskSpace(string) (free, size int64, err error) { return 0, 0, errors.ErrUnsupported }

func markInUse(*os.File) {}

func isInUse(*os.File) bool { return false }
