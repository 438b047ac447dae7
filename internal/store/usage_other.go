//go:build !linux && !darwin && !freebsd && !windows

package store

import (
	"errors"
	"os"
)

// diskSpace returns an error: the Go standard library has no way to ask this system.
func diskSpace(string) (free, size int64, err error) { return 0, 0, errors.ErrUnsupported }

func markInUse(*os.File) {}

func isInUse(*os.File) bool { return false }
