//go:build !linux

package harness

import "syscall"

// EndsWithUs has no effect: only Linux kills a program when its parent ends.
func EndsWithUs() *syscall.SysProcAttr { return nil }
