package confine

import "golang.org/x/sys/unix"

const (
	auditArch    = unix.AUDIT_ARCH_AARCH64
	firstForeign = 0x40000000 // there are none
	lastKnown    = unix.SYS_FILE_SETATTR
	newfstatat   = unix.SYS_FSTATAT
)

var (
	alwaysHere  []uint32
	hostileHere = []uint32{unix.SYS_KEXEC_FILE_LOAD}
	openingHere []rule
)
