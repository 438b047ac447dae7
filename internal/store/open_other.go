//go:build !linux

package store

import (
	"errors"
	"os"
)

// openBeneath is only for Linux.
func openBeneath(_, _ string) (*os.File, error) { return nil, errors.ErrUnsupported }
