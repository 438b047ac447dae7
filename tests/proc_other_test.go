//go:build !linux

package tests

import "syscall"

// endsWithUs would have a program killed when the tests end; only Linux can.
func endsWithUs() *syscall.SysProcAttr { return nil }
