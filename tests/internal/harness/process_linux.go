package harness

import (
	"syscall"
)

// EndsWithUs has a program killed when the tests end without having ended it,
// as on an interrupt or after go test's -timeout.
func EndsWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
