//go:build !linux

package harness

import "syscall"

// EndsWithUs would have a program killed when the tests end; only Linux can.
func EndsWithUs() *syscall.SysProcAttr { return nil }
