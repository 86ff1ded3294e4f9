package sweep

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/sdk/python"
)

//go:embed parent.py
var parent string

// Python is an application in Python. Its instances are processes, forked from one that has
// imported its module; they are those of a node, without the sandbox.
//
// Processes have no part in the time of a bubble: it stands still while one computes,
// since who waits for that is in a system call.
type Python struct {
	mu      sync.Mutex // one instance is asked for at a time
	control int
}

// NewPython starts the parent of instances of services whose classes are in a file. It ends with the
// test, and so do its instances.
func NewPython(t testing.TB, file string, services []string) *Python {
	t.Helper()
	interpreter, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	texts, err := python.Files()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	texts["parent.py"] = parent
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	own, its, err := pair(unix.SOCK_SEQPACKET)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(its), "control")
	module := filepath.Base(file)
	cmd := exec.Command(interpreter, append([]string{"-B", filepath.Join(dir, "parent.py"), dir, folder, module[:len(module)-len(filepath.Ext(module))]}, services...)...)
	cmd.Env = append(os.Environ(), "PYTHONHASHSEED=0")
	cmd.ExtraFiles = []*os.File{theirs}
	said, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		unix.Close(own)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(own)
		cmd.Wait() // it has ended with its socket, or before
	})
	if n, err := unix.Read(own, make([]byte, 16)); err != nil || n == 0 {
		cmd.Wait()
		why, _ := os.ReadFile(said.Name())
		t.Fatalf("import %s: %v: %s", file, err, why)
	}
	return &Python{control: own}
}

// silence is how long a process may compute.
const silence = time.Minute

// pair makes a socket for here, and one for a process.
func pair(kind int) (here, there int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, fmt.Errorf("make sockets: %w", err)
	}
	limit := unix.NsecToTimeval(silence.Nanoseconds())
	if err := unix.SetsockoptTimeval(fds[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return 0, 0, fmt.Errorf("bound a socket: %w", err)
	}
	return fds[0], fds[1], nil
}

// socket is a socket that is read and written in system calls.
type socket int

func (s socket) Read(p []byte) (int, error) {
	n, err := unix.Read(int(s), p)
	for err == unix.EINTR {
		n, err = unix.Read(int(s), p)
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}

func (s socket) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(s), p[done:])
		if err != nil && err != unix.EINTR {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

// fork starts an instance.
func (p *Python) fork(service string) (socket, error) {
	here, there, err := pair(unix.SOCK_STREAM)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	err = unix.Sendmsg(p.control, []byte(service), unix.UnixRights(there), nil, 0)
	p.mu.Unlock()
	unix.Close(there)
	if err != nil {
		unix.Close(here)
		return 0, fmt.Errorf("ask for an instance of %s: %w", service, err)
	}
	return socket(here), nil
}

// serve is an instance: it takes what the node says to a process, and back what that says until it
// has an answer to wait for, or nothing to do.
func (p *Python) serve(service string, node io.ReadWriter) error {
	process, err := p.fork(service)
	if err != nil {
		return err
	}
	defer unix.Close(int(process))
	in, said := bufio.NewReader(node), bufio.NewReader(process)
	waits := uint64(0) // the execution that waits for an answer
	for {
		frame, err := wire.Next(in)
		if err != nil {
			return err
		}
		m, err := wire.Decode(frame)
		if err != nil {
			return err
		}
		if _, err := process.Write(wire.Wrap(nil, frame)); err != nil {
			return err
		}
		answer, answered := m.(*wire.Answer)
		if answered && answer.Call != waits {
			continue // it is of an execution that is over
		}
		waits = 0
		if answered && answer.Value.Code == wire.Aborted {
			continue
		}
		for over := false; !over; {
			frame, err := wire.Next(said)
			if err != nil {
				return err
			}
			m, err := wire.Decode(frame)
			if err != nil {
				return err
			}
			if _, err := node.Write(wire.Wrap(nil, frame)); err != nil {
				return err
			}
			switch m := m.(type) {
			case *wire.Return, *wire.Continue:
				over = true
			case *wire.Ran:
				waits, over = m.Call, true
			case wire.Asker:
				if over = !wire.Silent(m); over {
					waits = m.Head().Call
				}
			}
		}
	}
}
