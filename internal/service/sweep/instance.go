package sweep

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/wire"
	sdk "github.com/weft-run/weft/service"
)

// instances execute methods behind streams that the network delays.
type instances struct {
	net    *network
	script *Script

	mu      sync.Mutex
	started int // guarded by mu
}

type instance struct {
	net   *network
	name  string
	in    *io.PipeWriter // to the instance
	out   *io.PipeReader // from it
	toIt  chan []byte
	quit  chan struct{}
	once  sync.Once
	ended sync.WaitGroup
}

// stream is the instance's end.
type stream struct {
	io.Reader
	io.Writer
}

var errKilled = errors.New("the sweep has killed it")

// Start implements service.Instances.
func (i *instances) Start(service, _ string, receive func([]byte), gone func(error)) (service.Instance, error) {
	i.mu.Lock()
	i.started++
	n := &instance{net: i.net, name: fmt.Sprint("instance ", i.started), toIt: make(chan []byte, 64), quit: make(chan struct{})}
	i.mu.Unlock()
	itsIn, in := io.Pipe()
	out, itsOut := io.Pipe()
	n.in, n.out = in, out
	n.ended.Go(func() {
		itsOut.CloseWithError(i.script.serve(service, stream{itsIn, itsOut}))
		itsIn.Close()
	})
	n.ended.Go(n.write)
	go func() { gone(n.read(receive)) }()
	return n, nil
}

// serve is an instance of a service.
func (s *Script) serve(service string, node io.ReadWriter) error {
	if s.Python != nil {
		return s.Python.serve(service, node)
	}
	return sdk.Serve(node, s.Services...)
}

// write takes frames to the instance.
func (n *instance) write() {
	for {
		select {
		case frame := <-n.toIt:
			if !n.net.pass(n.name+" is told", n.quit) {
				return
			}
			if _, err := n.in.Write(wire.Wrap(nil, frame)); err != nil {
				return
			}
		case <-n.quit:
			return
		}
	}
}

// read takes frames to the node.
func (n *instance) read(receive func([]byte)) error {
	in := bufio.NewReader(n.out)
	for {
		frame, err := wire.Next(in)
		if err != nil {
			return err
		}
		if !n.net.pass(n.name+" says", n.quit) {
			return nil
		}
		copied := bytes.Clone(frame)
		switch n.net.frame(func() { receive(copied) }) {
		case 0:
			n.kill()
			return errKilled
		case 1:
			receive(frame)
		default:
			receive(frame)
			receive(copied)
		}
	}
}

// Send implements service.Instance.
func (n *instance) Send(frame []byte) error {
	select {
	case n.toIt <- bytes.Clone(frame):
		return nil
	case <-n.quit:
		return errKilled
	}
}

func (n *instance) kill() {
	n.once.Do(func() {
		close(n.quit)
		n.in.CloseWithError(errKilled)
		n.out.CloseWithError(errKilled)
	})
}

// Close implements service.Instance.
func (n *instance) Close() {
	n.kill()
	n.ended.Wait()
}
