package wasi

import (
	"crypto/rand"

	"golang.org/x/sys/unix"
)

func argsGet(s *System, mem []byte, a []uint64) Errno {
	return putStrings(mem, s.cfg.Args, uint32(a[0]), uint32(a[1]))
}

func argsSizesGet(s *System, mem []byte, a []uint64) Errno {
	return putSizes(mem, s.cfg.Args, uint32(a[0]), uint32(a[1]))
}

func environGet(s *System, mem []byte, a []uint64) Errno {
	return putStrings(mem, s.cfg.Env, uint32(a[0]), uint32(a[1]))
}

func environSizesGet(s *System, mem []byte, a []uint64) Errno {
	return putSizes(mem, s.cfg.Env, uint32(a[0]), uint32(a[1]))
}

// putSizes stores how many strings there are and how many bytes they take with
// their terminating NULs.
func putSizes(mem []byte, list []string, count, size uint32) Errno {
	n := 0
	for _, v := range list {
		n += len(v) + 1
	}
	if e := putU32(mem, count, uint32(len(list))); e != Success {
		return e
	}
	return putU32(mem, size, uint32(n))
}

// putStrings stores the strings at buf, each ended by NUL, and their addresses
// at table.
func putStrings(mem []byte, list []string, table, buf uint32) Errno {
	for _, v := range list {
		if e := putU32(mem, table, buf); e != Success {
			return e
		}
		b, ok := span(mem, buf, uint32(len(v)+1))
		if !ok {
			return Efault
		}
		copy(b, v)
		b[len(v)] = 0
		if uint64(table)+4 > 1<<32-1 || uint64(buf)+uint64(len(b)) > 1<<32-1 {
			return Efault
		}
		table += 4
		buf += uint32(len(b))
	}
	return Success
}

func procExit(s *System, _ []byte, a []uint64) Errno {
	s.code, s.exited = uint32(a[0]), true
	return ErrnoExit
}

// procRaise does what the signal's default action is: the ones that end a
// process end the guest with status 128 and the signal, the ones that are
// ignored are, and stopping is not supported.
func procRaise(s *System, _ []byte, a []uint64) Errno {
	const chld, cont, stop, tstp, ttin, ttou, urg, winch, sys = 16, 17, 18, 19, 20, 21, 22, 27, 30
	switch signal := uint32(a[0]); signal {
	case 0, chld, cont, urg, winch:
		return Success
	case stop, tstp, ttin, ttou:
		return Enosys
	default:
		if signal > sys {
			return Einval
		}
		s.code, s.exited = 128+signal, true
		return ErrnoExit
	}
}

// schedYield gives up the processor, as the guest has a thread of its own.
func schedYield(*System, []byte, []uint64) Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return hostErrno(e)
}

func randomGet(s *System, mem []byte, a []uint64) Errno {
	b, ok := span(mem, uint32(a[0]), uint32(a[1]))
	if !ok {
		return Efault
	}
	for len(b) > 0 {
		if s.interrupted.Load() {
			return Ecanceled
		}
		n := min(len(b), 1<<20)
		if _, err := rand.Read(b[:n]); err != nil {
			return toErrno(err)
		}
		b = b[n:]
	}
	return Success
}
