package confine

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/seccomp"
)

// Seccomp installs the system call filter of the role on every thread of the
// process, at once and for good. It is called after the engine has started,
// because starting needs calls that running does not.
//
// The filter lists what is allowed. What is not listed fails with EPERM; what
// only an attacker would call ends the process, and so does a call in another
// architecture's convention; what newer libraries try first fails with ENOSYS,
// so that they do it in the older way. See seccomp(2).
func Seccomp(role string) error {
	program, err := assemble(policy(role, os.Getpid()))
	if err != nil {
		return fmt.Errorf("seccomp %s: %w", role, err)
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	r, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("seccomp %s: %w", role, errno)
	}
	if r != 0 {
		return fmt.Errorf("seccomp %s: thread %d has a filter of its own", role, r)
	}
	return nil
}

// check holds when the argument, masked, is the value.
type check struct {
	arg         int
	mask, value uint64
}

// rule says what happens to one system call: see seccomp.Rule.
type rule struct {
	call      uint32
	when      [][]check
	otherwise uint32
}

// What a filter returns.
const (
	allow  = seccomp.Allow
	kill   = seccomp.Kill
	eperm  = seccomp.EPERM
	enosys = seccomp.ENOSYS
)

// assemble turns rules into a program.
func assemble(rules []rule) ([]unix.SockFilter, error) {
	var out []seccomp.Rule
	for _, r := range rules {
		o := seccomp.Rule{Call: r.call, Otherwise: r.otherwise}
		for _, alternative := range r.when {
			var checks []seccomp.Check
			for _, c := range alternative {
				checks = append(checks, seccomp.Check{Arg: c.arg, Mask: c.mask, Value: c.value})
			}
			o.When = append(o.When, checks)
		}
		out = append(out, o)
	}
	return seccomp.Assemble(out)
}
