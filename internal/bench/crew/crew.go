// Package crew keeps processes that compute on demand: warm instances of functions, for
// measuring what a CPU scheduler makes of them.
//
//	c, err := crew.Start(32)                 // 32 processes, each of one thread
//	w := c.Workers[0]
//	done, err := w.Do(crew.Job{Kernel: work.Matmul, Units: 50})
//	done.Sum == work.Answer(work.Matmul, 50, 0)
//
// The processes are forked by another one, which is this executable started with Role; a
// program that uses the package calls Serve then. They end when the crew is closed, and
// when the program that started them does.
//
// # Forking a process of Go
//
// A process of Go has several threads, and a scheduler's question is about processes of
// one. The server of a crew therefore forks without exec, which the Go runtime does not
// provide for; fork.go says why it is sound there.
package crew

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/work"
)

// Role is the argument, behind that of bench children, that makes this executable a server.
const Role = "crew"

// Job is what a worker is asked for: units of a kernel, a pause after some of them.
type Job struct {
	Kernel work.Kernel
	Units  uint64
	Before uint64        // units before the pause
	Pause  time.Duration // 0: none
}

// Answer is the sum that the job's result should have.
func (j Job) Answer() uint64 { return work.Answer(j.Kernel, j.Units, 0) }

// Done is what a worker says of a job.
type Done struct {
	Sum    uint64
	CPU    time.Duration // of the process, for this job
	Yields uint64        // context switches: when it had to wait for something
	Losses uint64        // and when another took its core
}

// sizes of the messages, all in words of eight bytes.
const (
	jobWords  = 4
	doneWords = 4
)

// bytes is the message for a worker.
func (j Job) bytes() []byte {
	var b [8 * jobWords]byte
	for i, v := range [jobWords]uint64{uint64(j.Kernel), j.Units, j.Before, uint64(j.Pause)} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	return b[:]
}

// Worker is a process that computes, one job at a time.
type Worker struct {
	PID  int
	conn net.Conn
}

// Do has a job done. It is for one goroutine at a time.
func (w *Worker) Do(j Job) (Done, error) {
	if _, err := w.conn.Write(j.bytes()); err != nil {
		return Done{}, fmt.Errorf("ask worker %d: %w", w.PID, err)
	}
	var b [8 * doneWords]byte
	if _, err := io.ReadFull(w.conn, b[:]); err != nil {
		return Done{}, fmt.Errorf("answer of worker %d: %w", w.PID, err)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	return Done{word(0), time.Duration(word(1)), word(2), word(3)}, nil
}

// Crew is a server with its workers.
type Crew struct {
	Workers []*Worker
	command *exec.Cmd
	control net.Conn
	said    bytes.Buffer
}

// MaxWorkers bounds a crew.
const MaxWorkers = 1000

// Start starts a server with so many workers. program is this executable, and arguments
// what makes it a server; ordinarily the argument of bench children, and Role.
func Start(workers int, program string, arguments ...string) (_ *Crew, err error) {
	if workers < 1 || workers > MaxWorkers {
		return nil, fmt.Errorf("start crew: %d workers: want 1 to %d", workers, MaxWorkers)
	}
	c := &Crew{}
	c.command = exec.Command(program, append(arguments, strconv.Itoa(workers))...)
	// One processor for goroutines, no collection and no preemption by signals: fork.go needs it so.
	c.command.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	c.command.Stderr = &c.said
	conns := make([]net.Conn, workers+1) // the first one is the server's
	given := func() {                    // what the server has, or will never have
		for _, f := range c.command.ExtraFiles {
			f.Close()
		}
		c.command.ExtraFiles = nil
	}
	defer func() {
		given()
		for _, conn := range conns {
			if err != nil && conn != nil {
				conn.Close()
			}
		}
	}()
	for i := range conns {
		theirs, ours, err := pair()
		if err != nil {
			return nil, fmt.Errorf("start crew: %w", err)
		}
		conns[i] = ours
		c.command.ExtraFiles = append(c.command.ExtraFiles, theirs)
	}
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("start crew: %w", err)
	}
	given()
	c.control = conns[0]
	for _, conn := range conns[1:] {
		c.Workers = append(c.Workers, &Worker{conn: conn})
	}
	for _, w := range c.Workers {
		var b [8]byte
		if _, err := io.ReadFull(c.control, b[:]); err != nil {
			return nil, errors.Join(fmt.Errorf("start crew: no word of a worker: %w", err), c.Close())
		}
		w.PID = int(binary.LittleEndian.Uint64(b[:]))
	}
	return c, nil
}

// pair is a pair of sockets.
func pair() (theirs *os.File, ours net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[0]), "theirs")
	f := os.NewFile(uintptr(fds[1]), "ours")
	defer f.Close()
	if ours, err = net.FileConn(f); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return theirs, ours, nil
}

// PIDs are the processes of the crew, the server first.
func (c *Crew) PIDs() []int {
	out := []int{c.command.Process.Pid}
	for _, w := range c.Workers {
		out = append(out, w.PID)
	}
	return out
}

// Close ends all workers, whatever they do, and waits for that.
func (c *Crew) Close() error {
	err := c.control.Close()
	for _, w := range c.Workers {
		err = errors.Join(err, w.conn.Close())
	}
	if e := c.command.Wait(); e != nil {
		err = errors.Join(err, fmt.Errorf("crew: %w: %s", e, bytes.TrimSpace(c.said.Bytes())))
	}
	return err
}
