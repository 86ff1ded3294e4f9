package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/weft-run/weft/internal/client"
)

// Node is a server on a folder of its own, alive or dead.
//
//	data   of the server
//	cache  of modules and images
//	tmp    its $TMPDIR
//	log    granted to functions: who was executed
//	src    sources of apps
//	sock   its socket
//	server.log
type Node struct {
	Binary string // weft
	Dir    string
	Flags  []string // of weft serve, after the usual ones

	mu      sync.Mutex // guards the rest
	current *process
	pids    []int // of all processes that there were
}

// process is one life of a server.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error // once ended: as exec.Cmd.Wait gives it
	killed bool  // by us
}

// NewNode makes the folders.
func NewNode(binary, dir string) (*Node, error) {
	for _, name := range []string{"data", "cache", "tmp", "log", "src"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, fmt.Errorf("make folder: %w", err)
		}
	}
	return &Node{Binary: binary, Dir: dir}, nil
}

// path is a file of the node.
func (n *Node) path(elem ...string) string { return filepath.Join(append([]string{n.Dir}, elem...)...) }

// Socket is where it listens.
func (n *Node) Socket() string { return n.path("sock") }

// Client makes a client that tries each request once, unless tries says more.
func (n *Node) Client(tries int) (*client.Client, error) {
	return client.New(client.Options{Address: n.Socket(), Tries: tries, Patience: 10 * time.Second, UserAgent: "weft-chaos"})
}

// Start starts a process. It does not wait until that answers.
func (n *Node) Start() error {
	log, err := os.OpenFile(n.path("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	defer log.Close()
	args := []string{"serve", "--data", n.path("data"), "--socket", n.Socket(), "--allow", n.path("log") + ":rw"}
	p := &process{cmd: exec.Command(n.Binary, append(args, n.Flags...)...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "WEFT_CACHE="+n.path("cache"), "TMPDIR="+n.path("tmp"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // what interrupts us does not interrupt it, what kills us kills it
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	n.mu.Lock()
	n.current = p
	n.pids = append(n.pids, p.cmd.Process.Pid)
	n.mu.Unlock()
	go func() { // ends with the process, which Kill or Stop waits for
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// life is the process that is alive, as far as is known; nil if there is none.
func (n *Node) life() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// Pid is that of the process; 0 if there is none.
func (n *Node) Pid() int {
	if p := n.life(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// Pids are those of all processes that there were.
func (n *Node) Pids() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]int(nil), n.pids...)
}

// Kill kills the process and waits for its end. It is an error if that has ended
// by itself before.
func (n *Node) Kill() error {
	p := n.life()
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		return n.unexpected(p)
	default:
	}
	p.killed = true
	killed := p.cmd.Process.Kill()
	<-p.ended
	n.bury()
	var exit *exec.ExitError
	if errors.As(p.err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		return nil
	}
	if errors.Is(killed, os.ErrProcessDone) || p.err != nil {
		return n.unexpected(p)
	}
	return killed
}

// Terminate asks the process to end, and does not wait.
func (n *Node) Terminate() {
	if p := n.life(); p != nil {
		p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
}

// Stop asks the process to end and waits for that. Ending with an error, or not
// in time, is an error.
func (n *Node) Stop(within time.Duration) error {
	p := n.life()
	if p == nil {
		return nil
	}
	n.Terminate()
	return n.Ended(within)
}

// Ended waits for the end of a process that was told to end.
func (n *Node) Ended(within time.Duration) error {
	p := n.life()
	if p == nil {
		return nil
	}
	select {
	case <-p.ended:
		n.bury()
		if p.err != nil {
			return fmt.Errorf("server told to end: %w\n%s", p.err, n.Tail())
		}
		return nil
	case <-time.After(within):
		p.cmd.Process.Signal(syscall.SIGQUIT) // the log says where it hangs
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
			p.cmd.Process.Kill()
			<-p.ended
		}
		n.bury()
		return fmt.Errorf("server told to end has not after %v\n%s", within, n.Tail())
	}
}

// unexpected is the error of a process that has ended by itself.
func (n *Node) unexpected(p *process) error {
	n.bury()
	return fmt.Errorf("server ended by itself: %w\n%s", p.err, n.Tail())
}

func (n *Node) bury() {
	n.mu.Lock()
	n.current = nil
	n.mu.Unlock()
}

// Ready waits until the server takes requests.
func (n *Node) Ready(ctx context.Context, within time.Duration) error {
	c, err := n.Client(1)
	if err != nil {
		return err
	}
	defer c.CloseIdle()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		if _, err = c.Ready(ctx); err == nil {
			return nil
		}
		if p := n.life(); p != nil {
			select {
			case <-p.ended:
				return n.unexpected(p)
			default:
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("server does not answer within %v: %w\n%s", within, err, n.Tail())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Tail is the end of the server's log.
func (n *Node) Tail() string {
	text, err := os.ReadFile(n.path("server.log"))
	if err != nil {
		return err.Error()
	}
	const most = 4000
	if len(text) > most {
		text = text[len(text)-most:]
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok {
			text = rest
		}
	}
	return string(text)
}
