package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// trimEvery is how often it is looked whether the server has become idle.
	trimEvery = 5 * time.Second
	// quietBytes is how much an idle server may allocate in that time.
	quietBytes = 256 << 10
	// worthBytes is how much it must have allocated before it is worth while to
	// give memory back once more.
	worthBytes = 2 << 20
)

// trim gives memory back to the machine when the server has become idle: what the
// garbage collector would keep for the next load for minutes, and once, after the
// start, the pages of the program that only the start has needed.
//
// How much is allocated tells whether anything goes on, whatever it is.
func (s *server) trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	var freed uint64 // allocated when memory was given back the last time
	last, started := allocated(), false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := allocated()
		quiet := now-last < quietBytes
		last = now
		if !quiet || started && now-freed < worthBytes {
			continue
		}
		if !started {
			started = true
			if err := dropProgram(); err != nil {
				s.log.Debug("pages of the program that the start has needed stay in memory", "error", err)
			}
		}
		debug.FreeOSMemory()
		freed = now
	}
}

// allocated is how many bytes of the heap have been allocated since the start.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// mapping is a part of the program's file in this process's memory.
type mapping struct {
	from, to  uintptr
	resident  int64 // bytes
	anonymous int64 // bytes that are no longer those of the file
}

// dropProgram has the kernel take the pages of the program's file out of this
// process's memory: code and constants that are not written to. They stay in the
// page cache, and are mapped again, some at a time, when they are used
// (MADV_DONTNEED of a private mapping of a file: madvise(2)). Among them are the 20
// MB of the domain host, which are read once.
func dropProgram() error {
	parts, err := program()
	if err != nil {
		return err
	}
	for _, m := range parts {
		if m.anonymous > 0 {
			continue // a loader has changed them: the file has something else
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("drop pages of the program: %w", errno)
		}
	}
	return nil
}

// program lists the mappings of the program's file that are not writable
// (proc_pid_smaps(5)).
func program() ([]mapping, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return nil, err
	}
	var (
		all    []mapping
		inside bool // in the lines of a mapping that counts
	)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"): // 00400000-01010000 r-xp 00000000 fd:00 1234 /path
			m, ok := mapping{}, false
			m.from, m.to, ok = span(fields[0])
			inside = ok && len(fields) > 5 && strings.HasSuffix(lines.Text(), path) && (fields[1] == "r-xp" || fields[1] == "r--p")
			if inside {
				all = append(all, m)
			}
		case inside && len(fields) == 3 && fields[0] == "Rss:":
			all[len(all)-1].resident = kilobytes(fields[1])
		case inside && len(fields) == 3 && fields[0] == "Anonymous:":
			all[len(all)-1].anonymous = kilobytes(fields[1])
		}
	}
	if len(all) == 0 {
		return nil, errors.New("find the program in memory: no mapping of " + path)
	}
	return all, nil
}

// span reads two addresses.
func span(text string) (from, to uintptr, ok bool) {
	a, b, ok := strings.Cut(text, "-")
	first, err1 := strconv.ParseUint(a, 16, 64)
	second, err2 := strconv.ParseUint(b, 16, 64)
	return uintptr(first), uintptr(second), ok && err1 == nil && err2 == nil && first < second
}

// kilobytes reads a number of them, and gives bytes.
func kilobytes(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n << 10
}
