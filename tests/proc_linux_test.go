package tests

import "syscall"

// endsWithUs has a program killed when the tests end without having ended it,
// as on an interrupt or after go test's -timeout.
func endsWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
