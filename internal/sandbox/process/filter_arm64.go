package process

import (
	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/seccomp"
)

const fstatat = unix.SYS_FSTATAT

var (
	ordinaryHere  []uint32
	argumentsHere []seccomp.Rule
)
