package confine

import "golang.org/x/sys/unix"

const newfstatat = unix.SYS_FSTATAT

var (
	alwaysHere  []uint32
	hostileHere = []uint32{unix.SYS_KEXEC_FILE_LOAD}
	openingHere []rule
)
