package replay

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Nice gives all threads of this process CAP_SYS_NICE, if it may have it, or takes it from
// them; it stays permitted. The kernel's words are in capabilities(7) and capset(2). A
// program with C code cannot do that (syscall.AllThreadsSyscall): the error is ENOTSUP.
func Nice(on bool) error {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	const bit = 1 << unix.CAP_SYS_NICE
	data[0].Effective &^= bit
	if on {
		data[0].Effective |= bit & data[0].Permitted
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return fmt.Errorf("change capabilities: %w", errno)
	}
	return nil
}
