package weft

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// A resident native function gets its calls over a sequenced-packet socket, the descriptor in WEFT_WORKER. A message
// is a header of 48 bytes in the machine's order (kind and a of 4 bytes, id of 8, four numbers of 8) and text;
// descriptors come beside it. docs/processes.md describes them.
const (
	messageHead = 48
	messageMax  = messageHead + 64<<10

	messageCall    = 30 // a: flags; first number: length of the context in the text, which the input follows
	messageStop    = 32
	messageWorking = 40
	messageDone    = 43 // a: 0, or what was wrong; CPU time in µs since the start, resident KiB, 0, exit status

	callBody  = 1 // the input is in a descriptor
	callSlots = 4 // there is a control socket
	callLog   = 16

	doneRefused = 1 // the text says why
	doneExited  = 5
)

// serving is the connection of the call that a worker serves; nil outside of one, and in other processes.
var serving atomic.Pointer[control]

// serveCalls is the rest of the process's life where it is a worker. Elsewhere it does nothing.
func serveCalls(call func() error) {
	text := os.Getenv("WEFT_WORKER")
	if text == "" {
		return
	}
	os.Unsetenv("WEFT_WORKER")
	fd, err := strconv.Atoi(text)
	if err == nil {
		err = (&worker{fd: fd, call: call}).run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "weft: worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// worker serves one call after another.
type worker struct {
	fd   int
	call func() error
	own  [3]int // standard descriptors between calls
}

func (w *worker) run() error {
	syscall.CloseOnExec(w.fd)
	for i := range w.own {
		own, _, failed := syscall.Syscall(syscall.SYS_FCNTL, uintptr(i), syscall.F_DUPFD_CLOEXEC, 10)
		if failed != 0 {
			return fmt.Errorf("keep descriptor %d: %w", i, failed)
		}
		w.own[i] = int(own)
	}
	if err := w.send(messageWorking, 0, 0, 0, ""); err != nil {
		return err
	}
	in, oob := make([]byte, messageMax), make([]byte, syscall.CmsgSpace(16*4))
	for {
		n, oobn, _, _, err := syscall.Recvmsg(w.fd, in, oob, syscall.MSG_CMSG_CLOEXEC)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if n < messageHead || binary.NativeEndian.Uint32(in) == messageStop {
			return nil
		}
		if binary.NativeEndian.Uint32(in) != messageCall {
			continue
		}
		status, refused := w.serve(in[:n], descriptors(oob[:oobn]))
		a := uint32(0)
		switch {
		case refused != nil:
			a = doneRefused
		case status != 0:
			a = doneExited
		}
		said := ""
		if refused != nil {
			said = refused.Error()
		}
		if err := w.send(messageDone, a, binary.NativeEndian.Uint64(in[8:]), status, said); err != nil {
			return err
		}
	}
}

// send sends a message with what the process has used.
func (w *worker) send(kind, a uint32, id uint64, status int, text string) error {
	cpu, resident := used()
	b := make([]byte, messageHead, messageHead+len(text))
	binary.NativeEndian.PutUint32(b, kind)
	binary.NativeEndian.PutUint32(b[4:], a)
	binary.NativeEndian.PutUint64(b[8:], id)
	binary.NativeEndian.PutUint64(b[16:], uint64(cpu.Microseconds()))
	binary.NativeEndian.PutUint64(b[24:], uint64(resident))
	binary.NativeEndian.PutUint64(b[40:], uint64(status))
	for {
		err := syscall.Sendmsg(w.fd, append(b, text...), nil, nil, syscall.MSG_NOSIGNAL)
		if err != syscall.EINTR {
			return err
		}
	}
}

// used is the CPU time of the process since its start, and the most memory that it had, in KiB.
func used() (cpu time.Duration, resident int64) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), int64(r.Maxrss)
}

// serve serves one call. An error means that it was not begun.
func (w *worker) serve(m []byte, fds []int) (status int, err error) {
	defer func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}()
	flags, length, text := binary.NativeEndian.Uint32(m[4:]), binary.NativeEndian.Uint64(m[16:]), m[messageHead:]
	if length > uint64(len(text)) {
		return 0, fmt.Errorf("a context of %d bytes", length)
	}
	var context struct {
		Env map[string]string `json:"env"`
		CPU uint64            `json:"cpu"` // seconds
	}
	if err := json.Unmarshal(text[:length], &context); err != nil {
		return 0, fmt.Errorf("decode context: %w", err)
	}
	files := fds
	next := func(flag uint32) int {
		if len(files) == 0 || flags&flag == 0 {
			return -1
		}
		fd := files[0]
		files = files[1:]
		return fd
	}
	flags |= 1 << 31
	out, body, slots, log := next(1<<31), next(callBody), next(callSlots), next(callLog)
	if body < 0 && len(text) > int(length) {
		if body, err = pipeOf(text[length:]); err != nil {
			return 0, fmt.Errorf("hand over the input: %w", err)
		}
		defer syscall.Close(body)
	}
	defer w.stand([3]int{-1, -1, -1})
	w.stand([3]int{body, out, log})
	c := newControl(slots)
	serving.Store(c)
	defer c.close()
	defer releaseAll()
	limit(context.CPU)
	for name, value := range context.Env {
		os.Setenv(name, value)
	}
	defer func() {
		for name := range context.Env {
			os.Unsetenv(name)
		}
	}()
	if err := w.call(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, nil
	}
	return 0, nil
}

// stand makes descriptors the standard ones; -1: the worker's own.
func (w *worker) stand(fds [3]int) {
	for i, fd := range fds {
		if fd < 0 {
			fd = w.own[i]
		}
		syscall.Dup3(fd, i, 0) // both are open
	}
}

// pipeOf is a pipe with some bytes, which are no more than it holds.
func pipeOf(b []byte) (int, error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return -1, err
	}
	defer syscall.Close(p[1])
	n, err := syscall.Write(p[1], b)
	if err == nil && n < len(b) {
		err = syscall.EMSGSIZE
	}
	if err != nil {
		syscall.Close(p[0])
	}
	return p[0], err
}

// limit grants the CPU time of one more call, in seconds; 0 is no limit.
func limit(seconds uint64) {
	var r syscall.Rlimit
	if seconds == 0 || syscall.Getrlimit(rlimitCPU, &r) != nil {
		return
	}
	cpu, _ := used()
	r.Cur = min(uint64(cpu/time.Second)+seconds+1, r.Max)
	syscall.Setrlimit(rlimitCPU, &r)
}

const rlimitCPU = 0 // RLIMIT_CPU
