package harness

import (
	"syscall"
)

// EndsWithUs makes Linux kill a program if the tests end without stopping it, as after
// an interrupt or at the timeout of go test.
func EndsWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
