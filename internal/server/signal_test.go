package server

import (
	"os/signal"
	"syscall"
)

// ignoreFileSize has writes beyond RLIMIT_FSIZE fail instead of ending the
// process (setrlimit(2)), until restore is called.
func ignoreFileSize() (restore func()) {
	signal.Ignore(syscall.SIGXFSZ)
	return func() { signal.Reset(syscall.SIGXFSZ) }
}
