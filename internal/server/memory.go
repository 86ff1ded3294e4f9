package server

import (
	"syscall"
)

// memory is the bound of what calls may use: the one that is set, or 80 % of the
// machine's memory.
func memory(set int64) int64 {
	if set > 0 {
		return set
	}
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(float64(info.Totalram) * float64(info.Unit) * 0.8)
}
