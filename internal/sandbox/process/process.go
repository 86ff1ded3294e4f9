package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/flow"
)

// Process is a call that has been started. Whoever holds it need not wait for
// it: what it uses is given back at its end in any case, but for an output that
// Result has as a file.
type Process struct {
	server *server
	call   Call
	id     uint64
	group  *weighed
	began  time.Time
	timer  *time.Timer // nil: no limit of time
	output *os.File    // nil: the output goes elsewhere
	slots  *slotServer

	worker  *worker    // that serves the call; nil: the call has a process of its own
	cpu     int64      // of a worker's call: µs; guarded by server.mu
	status  int        // of a response; written by the worker's listener
	logging sync.Mutex // held while call.Log is called
	log     *os.File   // of a worker's call: what it writes to standard error; nil: messages say it

	at      whereabouts
	reading sync.WaitGroup // of standard error, and of the control socket
	expired atomic.Bool
	killed  atomic.Bool

	once     sync.Once
	insisted sync.Once // it is waited for its end, having been killed
	done     chan struct{}
	result   Result // written before done is closed
}

// Result is how a call ended and what it used.
type Result struct {
	Code    int           // exit status; 128 and the number of a signal that ended it
	Failure *flow.Failure // nil: it succeeded
	CPU     time.Duration // of its process and of those that it had waited for or left behind
	Wall    time.Duration // from Start to its end
	Memory  int64         // bytes held at most: of all processes where there are cgroups, of the largest elsewhere

	Output []byte   // up to 64 KiB of output
	File   *os.File // longer output; the caller closes it
	Size   int64    // bytes of output; 0 with Call.Stream
}

// Segment makes a longer output a segment of buffers: sealed, with the bytes
// where they are, and zeros up to its capacity. It takes File over.
func (r *Result) Segment(id uint64) (*buffer.Segment, error) {
	if r.File == nil {
		return nil, errors.New("the output is not in a file")
	}
	f := r.File
	r.File = nil
	defer f.Close()
	capacity := buffer.Class(r.Size)
	if capacity == 0 {
		return nil, fmt.Errorf("output of %d bytes: %w", r.Size, buffer.ErrTooLarge)
	}
	if err := f.Truncate(capacity); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	seals := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal output: %w", err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	return buffer.Adopt(fd, id, capacity)
}

// Done is closed when nothing of the call is left.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the call. It may be called any number of times.
func (p *Process) Wait() Result {
	<-p.done
	return p.result
}

// Worker is the process that serves the call beside others, or others after it; nil: the
// call has a process of its own. It is the same for all calls that the worker serves, and
// can be placed, but not killed.
func (p *Process) Worker() *Process {
	if p.worker == nil {
		return nil
	}
	return p.worker.host
}

// Retire says that the worker of the call should serve no further ones.
func (p *Process) Retire() {
	if p.worker != nil {
		p.worker.retire()
	}
}

// Kill ends the call and everything that belongs to it. It does not wait.
// Killing a call that has ended does nothing.
func (p *Process) Kill() {
	p.killed.Store(true)
	if p.worker != nil {
		p.quit()
		return
	}
	p.signal(unix.SIGKILL)
}

// signal sends a signal to the call's own process.
func (p *Process) signal(s unix.Signal) {
	m := message{kind: msgSignal, id: p.id, a: uint32(s)}
	p.server.conn.send(m.append) // else the server has ended, and the call with it
	if s == unix.SIGKILL {
		p.insist()
	}
}

// insist ends the fork server of a call that was killed and does not end: somebody has
// stopped the server or its warden, or they hang. Further calls get another one.
func (p *Process) insist() {
	p.insisted.Do(func() {
		select {
		case <-p.done:
			return
		default: // then its server is at work, and so is the pool
		}
		s := p.server
		s.pool.work.Go(func() {
			select {
			case <-p.done:
			case <-s.pool.quit:
			case <-time.After(s.pool.patience):
				s.pool.o.Log(s.f.Name, "weft: a call that was killed is still there: its fork server does not answer, and is ended")
				s.pool.forget(s)
				s.end()
			}
		})
	})
}

// expire ends a call whose time is over.
func (p *Process) expire() {
	p.expired.Store(true)
	if p.worker != nil {
		p.quit()
		return
	}
	if p.call.Grace > 0 {
		p.signal(unix.SIGTERM)
		select {
		case <-p.done:
			return
		case <-time.After(p.call.Grace):
		}
	}
	p.signal(unix.SIGKILL)
}

// hear passes on standard error.
func (p *Process) hear(r *os.File) {
	defer r.Close()
	lines := bufio.NewReaderSize(&remainder{file: r, left: 1 << 20}, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 && p.call.Log != nil {
			p.call.Log(strings.TrimSuffix(string(line), "\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// remainder is a pipe that, when its deadline has passed, ends with what is in
// it, or after left bytes of that.
type remainder struct {
	file *os.File
	left int
}

func (r *remainder) Read(p []byte) (n int, err error) {
	n, err = r.file.Read(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	raw, err := r.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	if err := raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), p) }); err != nil {
		return 0, err
	}
	if r.left -= n; n <= 0 || r.left < 0 {
		return 0, io.EOF
	}
	return n, nil
}

// release gives back what the call used; its processes are gone.
func (p *Process) release() {
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.slots != nil {
		p.slots.conn.close()
	}
	p.reading.Wait()
	if p.slots != nil {
		p.slots.fresh.settle(p.slots)
	}
	if p.output != nil && p.result.File != p.output {
		p.output.Close()
	}
	if p.group != nil {
		p.group.Close()
	}
	p.at.close()
}

// lose ends a call whose server is gone.
func (p *Process) lose(why string) {
	p.once.Do(func() {
		f := &flow.Failure{Kind: KindLost, Message: fmt.Sprintf("function %s: %s", p.call.Function.Name, why), Free: true}
		switch {
		case p.killed.Load():
			f = p.fail(KindKilled, "was killed")
		case p.expired.Load():
			f = p.fail(KindTimeout, "ran longer than %v", p.call.Time)
		}
		p.result = Result{Code: 128 + int(unix.SIGKILL), Failure: f, Wall: time.Since(p.began)}
		p.release()
		close(p.done)
	})
}

// finish notes how the call ended.
func (p *Process) finish(m message) {
	p.once.Do(func() {
		p.result.Wall = time.Since(p.began)
		if p.timer != nil {
			p.timer.Stop()
		}
		r := &p.result
		r.CPU = time.Duration(m.v[0]+m.v[1]) * time.Microsecond
		r.Memory = p.group.Peak()
		if r.Memory == 0 {
			r.Memory = m.v[2] << 10
		}
		status := unix.WaitStatus(m.a)
		r.Code = status.ExitStatus()
		if status.Signaled() {
			r.Code = 128 + int(status.Signal())
		}
		r.Failure = p.judge(status, int(m.v[3]), string(m.text))
		p.collect()
		p.release()
		close(p.done)
	})
}

// What a process says of its own end.
const (
	saidRefused = 1
	saidRaised  = 2
	saidOutput  = 3
	saidMemory  = 4
	saidExited  = 5 // with a status
)

func (p *Process) fail(kind, format string, args ...any) *flow.Failure {
	return &flow.Failure{Kind: kind, Message: fmt.Sprintf("function %s ", p.call.Function.Name) + fmt.Sprintf(format, args...)}
}

// judge says what was wrong with a call, nil for nothing.
func (p *Process) judge(status unix.WaitStatus, said int, text string) *flow.Failure {
	l := p.server.limit
	told := p.said(said, text)
	killed := status.Signaled() && status.Signal() == unix.SIGKILL
	failed := !status.Exited() || status.ExitStatus() != 0
	switch {
	case failed && p.killed.Load():
		return p.fail(KindKilled, "was killed")
	case failed && p.expired.Load():
		return p.fail(KindTimeout, "ran longer than %v", p.call.Time)
	case !failed:
		return nil
	case p.group.OutOfMemory() > 0:
		return p.fail(KindLimit, "was ended: it used more than the %d MiB of memory that it may", l.Memory>>20)
	case told != nil:
		return told
	case killed && l.CPU > 0 && p.result.CPU >= l.CPU/2, status.Signaled() && status.Signal() == unix.SIGXCPU:
		return p.fail(KindLimit, "was ended: it used more than the %v of CPU time that it may", l.CPU)
	case status.Signaled() && status.Signal() == unix.SIGXFSZ:
		return p.fail(KindLimit, "was ended: it wrote a file, or an output, of more than %d MiB", max(l.Tmp, l.Output)>>20)
	case killed:
		f := p.fail(KindLost, "was killed, by itself or by something outside of weft, such as the kernel when the machine is out of memory")
		f.Alone = true
		return f
	case status.Signaled():
		return p.fail(KindExit, "was ended by the signal %s", unix.SignalName(status.Signal()))
	case status.ExitStatus() == wardenExit && p.server.f.Runtime == Python:
		return p.fail(KindRefused, "could not be forked: its fork server, or the machine, is out of memory or processes")
	case status.ExitStatus() == unsaidExit && p.server.f.Runtime == Python:
		return p.fail(KindExit, "has closed descriptors that it did not open, as os.closerange does: what it returned or raised could not be told")
	}
	return p.fail(KindExit, "exited with status %d", status.ExitStatus())
}

// collect reads the output.
func (p *Process) collect() {
	r := &p.result
	if p.output == nil {
		return
	}
	info, err := p.output.Stat()
	if err != nil {
		return
	}
	r.Size = info.Size()
	if limit := p.server.limit.Output; r.Size > limit {
		if r.Failure == nil {
			r.Failure = p.fail(KindOutput, "wrote %d bytes of output, the limit is %d", r.Size, limit)
			r.Failure.Permanent = true
		}
		r.Size = 0
		return
	}
	if r.Size > outputMax {
		r.File = p.output
		return
	}
	r.Output = make([]byte, r.Size)
	if n, err := p.output.ReadAt(r.Output, 0); err != nil && n < len(r.Output) {
		r.Output = r.Output[:n]
	}
}
