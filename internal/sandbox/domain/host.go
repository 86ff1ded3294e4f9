package domain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// startTimeout bounds how long a host may take to say Ready.
const startTimeout = 10 * time.Second

// host is the node's end of a domain host: its process and its connection.
type host struct {
	name    string
	process *sandbox.Process
	sandbox *scheduler.Sandbox // nil: nobody schedules its calls
	conn    *wire.Conn
	stderr  *tail
	started time.Duration // from spawn to Ready

	defined map[*Function]uint32 // functions that it has; guarded by its domain's mu
	last    uint32               // ID of the last function defined; guarded by its domain's mu
	known   map[uint64]int       // segments that it has, and how many descriptors of each; guarded by its domain's mu
	files   int                  // the sum of known; guarded by its domain's mu
	calls   map[uint64]*call     // calls that run in it; guarded by its domain's mu
	closing bool                 // its end is wanted; guarded by its domain's mu
	spent   bool                 // it has grown too much; guarded by its domain's mu
	apart   bool                 // the run has it for calls that are not to begin beside others; guarded by its domain's mu
	asks    bool                 // the node decides about slots, not the host; guarded by its domain's mu

	// The pool's, guarded by its mu.
	runs   int    // runs and lanes that it has served
	serves string // app version
	taken  bool   // it is not in the pool
	gone   bool   // it is not counted any longer
	since  int64  // the pool's tick when it came back
	base   int64  // resident bytes when it was measured first; whoever has the host measures

	resetting atomic.Bool // it has been sent Reset

	ended *call         // by the message just handled; its reader's alone
	idle  chan struct{} // told of Idle
	over  chan struct{} // closed when its reader has ended
}

// spawn starts a confined process in a role and waits until it is ready. The
// folders are those that it may use where it has no file tree of its own.
func spawn(ctx context.Context, s *sandbox.Spawner, role sandbox.Role, limits sandbox.Limits, folders ...*sandbox.Grant) (*host, error) {
	begun := time.Now()
	conn, child, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	stderr, err := newTail()
	if err != nil {
		child.Close()
		conn.Close()
		return nil, err
	}
	p, err := s.Spawn(ctx, sandbox.SpawnOptions{Role: role, Control: child, Stderr: stderr.w, Limits: limits, Grants: folders})
	child.Close() // or the end of the host would not end its connection
	stderr.w.Close()
	if err != nil {
		conn.Close()
		stderr.close()
		return nil, fmt.Errorf("start %s host: %w", role, err)
	}
	h := &host{
		name: fmt.Sprintf("host-%d", p.PID()), process: p, conn: conn, stderr: stderr,
		defined: map[*Function]uint32{}, known: map[uint64]int{}, calls: map[uint64]*call{},
		idle: make(chan struct{}, 1), over: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, func() { p.Kill() })
	defer stop()
	timer := time.AfterFunc(startTimeout, func() { p.Kill() })
	defer timer.Stop()
	m, err := h.receive()
	ready, ok := m.(*wire.Ready)
	switch {
	case err != nil:
		if _, err = h.whyEnded(err); ctx.Err() != nil {
			err = ctx.Err()
		}
		err = fmt.Errorf("start %s host: %w", role, err)
	case !ok:
		err = fmt.Errorf("start %s host: its first message is %T", role, m)
	case ready.Version != wire.Version || ready.Images != wire.Images:
		err = fmt.Errorf("start %s host: it is of another build (protocol %d, images of %s) than this node (%d, %s): run make build", role, ready.Version, ready.Images, wire.Version, wire.Images)
	}
	if err != nil {
		h.kill()
		return nil, err
	}
	h.started = time.Since(begun)
	return h, nil
}

// receive reads the next message. A host has no descriptors to give: any that
// come are closed.
func (h *host) receive() (wire.Message, error) {
	m, fds, err := h.conn.Receive()
	for _, fd := range fds {
		unix.Close(fd)
	}
	return m, err
}

// kill ends the process and waits until nothing is left of it.
func (h *host) kill() {
	h.process.Kill()
	h.conn.Close()
	<-h.process.Done()
	h.sandbox.Close()
	h.stderr.close()
}

// whyEnded says why a host is gone, from its exit status and its last words, or
// ends it because of what it sent.
func (h *host) whyEnded(err error) (sandbox.Exit, error) {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		select { // let it end by itself: a kill would hide the reason
		case <-h.process.Done():
		case <-time.After(endTimeout):
		}
	}
	h.process.Kill()
	exit := h.process.Wait()
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		return exit, fmt.Errorf("domain host %s was ended: %w", h.name, err)
	}
	why := fmt.Sprintf("domain host %s ended: %s", h.name, exit.Reason)
	switch exit.Reason {
	case sandbox.ReasonExit, sandbox.ReasonConfine:
		why += fmt.Sprintf(" with status %d", exit.Code)
	case sandbox.ReasonSignal:
		why += fmt.Sprintf(" %v", exit.Signal)
	}
	if last := h.stderr.text(time.Second); last != "" {
		why += ": " + last
	}
	return exit, errors.New(why)
}

// endTimeout bounds how long a host that has closed its connection may take to
// end.
const endTimeout = time.Second

// tail keeps what a process wrote to its standard error: the beginning, where a
// crash says its reason, and the end.
type tail struct {
	r, w *os.File
	done chan struct{}

	mu      sync.Mutex
	first   []byte // guarded by mu, as what follows
	last    []byte // of what came after first
	skipped bool   // something between them is not kept
}

// tailMax bounds each of the two parts that are kept, in bytes.
const tailMax = 1 << 10

func newTail() (*tail, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	t := &tail{r: r, w: w, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		buf := make([]byte, 4<<10)
		for {
			n, err := r.Read(buf)
			t.keep(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return t, nil
}

func (t *tail) keep(b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(b), tailMax-len(t.first))
	t.first = append(t.first, b[:n]...)
	t.last = append(t.last, b[n:]...)
	if over := len(t.last) - tailMax; over > 0 {
		t.last, t.skipped = t.last[over:], true
	}
}

// text returns the words that were kept once all have been read, which is soon after the
// end of the process, but waits no longer than that.
func (t *tail) text(wait time.Duration) string {
	select {
	case <-t.done:
	case <-time.After(wait):
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	between := ""
	if t.skipped {
		between = "\n…\n"
	}
	return strings.TrimSpace(string(t.first) + between + string(t.last))
}

func (t *tail) close() {
	t.r.Close()
	<-t.done
}
