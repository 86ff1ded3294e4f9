package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/wire"
)

// instances are the instances of services: each is a confined process of its own, or a
// module in a confined host of its own, apart from the domains of runs, and has a stream of
// frames (package service/wire) to the node. It stays until it fails, is given up, or has had
// nothing to do for long.
type instances struct{ *Server }

var _ service.Instances = instances{}

// Start implements service.Instances.
func (s instances) Start(name, version string, receive func([]byte), gone func(error)) (service.Instance, error) {
	appName, local, _ := strings.Cut(name, ".")
	d, err := s.borrow(s.ctx, appName, version)
	if err != nil {
		return nil, err
	}
	return s.start(d, local, receive, gone)
}

// start makes an instance of a service of a version, which is given back when that has ended.
func (s instances) start(d *deployed, local string, receive func([]byte), gone func(error)) (service.Instance, error) {
	appName := d.program.App.Name
	fn := d.program.Functions[local]
	if d.program.App.Services[local] == nil || fn == nil {
		s.giveBack(d)
		return nil, fmt.Errorf("version %s of app %s has no service %s", d.program.Version, appName, local)
	}
	release := s.Gate.Hold(appName, fn.Memory)
	words := &lastWords{}
	said := s.spoken(s.ctx, appName, local, d.program.Redact)
	if said != nil {
		words.log = said.add
	}
	i, err := startInstance(s.ctx, s.pool, fn, words.add, receive)
	end := func() {
		if said != nil {
			said.end()
		}
		release()
		s.giveBack(d)
	}
	if err != nil {
		end()
		return nil, err
	}
	s.dying.Go(func() {
		why := i.wait()
		end()
		if why != nil {
			why = fmt.Errorf("%w%s", why, words.said(d.program.Redact))
		}
		gone(why)
	})
	return i, nil
}

// instance is one of a service.
type instance struct {
	program domain.Instance
	conn    *net.UnixConn
	raw     interface {
		Write(f func(fd uintptr) bool) error
	}

	mu      sync.Mutex
	pending []byte // that its socket had no room for; guarded by mu
	writing bool   // a goroutine sends pending; guarded by mu
	wrong   error  // with what it has sent; guarded by mu
	reading sync.WaitGroup
}

// startInstance starts a program that speaks frames.
func startInstance(ctx context.Context, pool *domain.Pool, fn *domain.Function, log func([]byte), receive func([]byte)) (*instance, error) {
	conn, theirs, err := streamPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p, err := pool.StartInstance(ctx, fn, theirs, log)
	if err != nil {
		conn.Close()
		return nil, err
	}
	i := &instance{program: p, conn: conn}
	if i.raw, err = conn.SyscallConn(); err != nil { // it never is
		p.Kill()
		conn.Close()
		return nil, err
	}
	i.reading.Go(func() { i.listen(receive) })
	return i, nil
}

// streamPair makes a connected pair of stream sockets: the node's end, and the one
// for an instance.
func streamPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	theirs, ours := os.NewFile(uintptr(fds[1]), "frames"), os.NewFile(uintptr(fds[0]), "frames")
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket: %w", err)
	}
	return c.(*net.UnixConn), theirs, nil
}

// endTime is how long an instance may take to end when its stream has.
const endTime = time.Second

// listen passes frames on. A frame that is too long, or the end of the stream before that
// of the program, ends the instance.
func (i *instance) listen(receive func([]byte)) {
	r := bufio.NewReaderSize(i.conn, 16<<10)
	for {
		frame, err := wire.Next(r)
		if err != nil {
			if err == io.EOF { // it ends by itself, most likely, and its status says why
				select {
				case <-i.program.Done():
				case <-time.After(endTime):
				}
			} else if errors.Is(err, wire.ErrMalformed) {
				i.mu.Lock()
				i.wrong = err
				i.mu.Unlock()
			}
			i.program.Kill()
			return
		}
		receive(frame)
	}
}

// wait returns when nothing is left of the instance, with the reason.
func (i *instance) wait() error {
	failure := i.program.Wait()
	i.conn.Close()
	i.reading.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.wrong != nil:
		return fmt.Errorf("it sends what is no frame: %w", i.wrong)
	case failure != nil:
		return errors.New(failure.Message)
	}
	return errReturned
}

// errReturned is of a program that returns while the node needs it, or does not serve at all.
var errReturned = errors.New("its program has ended, with status 0, instead of serving: is it an instance of services, such as weft generate writes?")

// pendingMax bounds what waits for an instance to read it, in bytes: one that keeps to the
// protocol asks one thing at a time, and has an answer and a start before it at most.
const pendingMax = 4 * wire.FrameMax

// errDeaf is of an instance that asks on and on, and reads no answer.
var errDeaf = fmt.Errorf("it does not read what it is answered: more than %d MiB wait for it", pendingMax>>20)

// Send implements service.Instance. What the socket has no room for is sent by a
// goroutine.
func (i *instance) Send(frame []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.writing {
		if len(i.pending)+len(frame) > pendingMax {
			return errDeaf
		}
		i.pending = wire.Wrap(i.pending, frame)
		return nil
	}
	stream := wire.Wrap(make([]byte, 0, len(frame)+8), frame)
	var n int
	var failed error
	err := i.raw.Write(func(fd uintptr) bool {
		n, failed = unix.Write(int(fd), stream)
		return true
	})
	if n > 0 && n == len(stream) {
		return nil
	}
	if err != nil || failed != nil && failed != unix.EAGAIN && failed != unix.EINTR {
		return nil // it has ended, or does soon, which is told with the reason
	}
	i.pending, i.writing = append(i.pending, stream[max(n, 0):]...), true
	go i.write()
	return nil
}

// write sends what is pending.
func (i *instance) write() {
	for {
		i.mu.Lock()
		b := i.pending
		i.pending = nil
		i.writing = len(b) > 0
		i.mu.Unlock()
		if len(b) == 0 {
			return
		}
		if _, err := i.conn.Write(b); err != nil {
			return // it has ended, which is told
		}
	}
}

// Close implements service.Instance.
func (i *instance) Close() {
	i.program.Kill()
	<-i.program.Done()
}
