package seccomp

import "golang.org/x/sys/unix"

// AuditArch is the architecture whose system calls the rules are about, and
// LastKnown the newest of them that this package knows.
const (
	AuditArch    = unix.AUDIT_ARCH_AARCH64
	LastKnown    = unix.SYS_FILE_SETATTR
	firstForeign = 0x40000000 // there are none
)
