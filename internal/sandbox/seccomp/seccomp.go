// Package seccomp assembles system call filters: rules in, the classic BPF
// program out that the kernel runs before every system call of a sandbox.
//
//	program, err := seccomp.Assemble([]seccomp.Rule{
//		{Call: unix.SYS_READ, Otherwise: seccomp.Allow},
//		{Call: unix.SYS_SOCKET, Otherwise: seccomp.EPERM},
//	})
//
// The program lists what is allowed: a call without a rule fails with EPERM. A
// call in another architecture's convention ends the process, and one that is
// newer than this package fails with ENOSYS, so that its caller does it in the
// older way. See seccomp(2).
package seccomp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Check holds when the argument, masked, is the value.
type Check struct {
	Arg         int
	Mask, Value uint64
}

// Rule says what happens to one system call: it is allowed when all checks of
// one alternative hold, and else is what Otherwise says.
type Rule struct {
	Call      uint32
	When      [][]Check
	Otherwise uint32
}

// What a filter returns.
const (
	Allow = unix.SECCOMP_RET_ALLOW
	Kill  = unix.SECCOMP_RET_KILL_PROCESS // the whole process
	EPERM = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// ENOSYS makes callers fall back.
	ENOSYS = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// Offsets in struct seccomp_data.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArgs = 16
)

// Assemble turns rules into a classic BPF program. The rules are tried in
// order; the kernel remembers which calls are allowed whatever their arguments
// and does not run the program for those, so that a plain list is fast.
func Assemble(rules []Rule) ([]unix.SockFilter, error) {
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
		jump(unix.BPF_JEQ, AuditArch, 1, 0),
		ret(Kill),
		load(offsetCall),
		jump(unix.BPF_JGE, firstForeign, 0, 1),
		ret(Kill),
		jump(unix.BPF_JGT, LastKnown, 0, 1),
		ret(ENOSYS),
	}
	for _, r := range rules {
		var body []unix.SockFilter
		for _, alternative := range r.When {
			var part []unix.SockFilter
			for _, c := range alternative {
				for half, shift := range [2]int{0, 32} {
					mask, value := uint32(c.Mask>>shift), uint32(c.Value>>shift)
					if mask == 0 {
						continue
					}
					part = append(part,
						load(offsetArgs+uint32(8*c.Arg+4*half)), // little endian
						unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask},
						jump(unix.BPF_JEQ, value, 0, -1))
				}
			}
			part = append(part, ret(Allow))
			for i := range part { // a check that fails goes on behind this alternative
				if part[i].Code == unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K {
					part[i].Jf = uint8(len(part) - i - 1)
				}
			}
			body = append(body, part...)
		}
		body = append(body, ret(r.Otherwise))
		if len(body) > 255 {
			return nil, fmt.Errorf("rule of call %d is too long", r.Call)
		}
		program = append(program, jump(unix.BPF_JEQ, r.Call, 0, len(body)))
		program = append(program, body...)
	}
	program = append(program, ret(EPERM))
	if len(program) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("%d instructions", len(program))
	}
	return program, nil
}
