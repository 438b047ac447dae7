//go:build !linux

package store

import (
	"errors"
	"os"
)

// openBeneath is implemented on Linux only.
func openBeneath(_, _ string) (*os.File, error) { return nil, errors.ErrUnsupported }
