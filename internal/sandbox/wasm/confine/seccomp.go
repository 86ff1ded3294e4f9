package confine

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
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

// rule says what happens to one system call: it is allowed when all checks of
// one alternative hold, or when there are none, and else is what otherwise says.
type rule struct {
	call      uint32
	when      [][]check
	otherwise uint32
}

// What a filter returns.
const (
	allow = unix.SECCOMP_RET_ALLOW
	kill  = unix.SECCOMP_RET_KILL_PROCESS
	eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// enosys makes callers fall back.
	enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// Offsets in struct seccomp_data.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16
)

// assemble turns rules into a classic BPF program. The rules are tried in
// order; the kernel remembers which calls are allowed whatever their arguments
// and does not run the program for those, so that a plain list is fast.
func assemble(rules []rule) ([]unix.SockFilter, error) {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	ret := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	jump := func(op uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	program := []unix.SockFilter{
		load(offsetArch),
		jump(unix.BPF_JEQ, auditArch, 1, 0),
		ret(kill),
		load(offsetCall),
		jump(unix.BPF_JGE, firstForeign, 0, 1),
		ret(kill),
		jump(unix.BPF_JGT, lastKnown, 0, 1),
		ret(enosys),
	}
	for _, r := range rules {
		var body []unix.SockFilter
		for _, alternative := range r.when {
			var part []unix.SockFilter
			for _, c := range alternative {
				for half, shift := range [2]int{0, 32} {
					mask, value := uint32(c.mask>>shift), uint32(c.value>>shift)
					if mask == 0 {
						continue
					}
					part = append(part,
						load(offsetArgs+uint32(8*c.arg+4*half)), // little endian
						unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask},
						jump(unix.BPF_JEQ, value, 0, -1))
				}
			}
			part = append(part, ret(allow))
			for i := range part { // a check that fails goes on behind this alternative
				if part[i].Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
					part[i].Jf = uint8(len(part) - i - 1)
				}
			}
			body = append(body, part...)
		}
		body = append(body, ret(r.otherwise))
		if len(body) > 255 {
			return nil, fmt.Errorf("rule of call %d is too long", r.call)
		}
		program = append(program, jump(unix.BPF_JEQ, r.call, 0, len(body)))
		program = append(program, body...)
	}
	program = append(program, ret(eperm))
	if len(program) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("%d instructions", len(program))
	}
	return program, nil
}
