//go:build !linux

package harness

import "syscall"

// EndsWithUs does nothing: only Linux can kill a program at the end of its parent.
func EndsWithUs() *syscall.SysProcAttr { return nil }
