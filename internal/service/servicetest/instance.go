package servicetest

import (
	"fmt"
	"sync"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/wire"
)

// Methods are services whose methods are Go functions, by service.method.
type Methods map[string]Method

var _ service.Instances = Methods{}

// Catalog is the machine's.
func (m Methods) Catalog(_ string, t wire.Target) error {
	if m[t.Service+"."+t.Method] == nil {
		return fmt.Errorf("there is no method %v", t)
	}
	return nil
}

// Start implements service.Instances.
func (m Methods) Start(_, _ string, receive func([]byte), _ func(error)) (service.Instance, error) {
	i := &instance{methods: m, receive: receive, in: make(chan wire.Message, 4), quit: make(chan struct{})}
	go i.serve()
	return i, nil
}

// instance executes methods in a goroutine.
type instance struct {
	methods Methods
	in      chan wire.Message
	quit    chan struct{}

	mu      sync.Mutex
	receive func([]byte) // nil: it is dead; guarded by mu
}

// Send implements service.Instance.
func (i *instance) Send(frame []byte) error {
	m, err := wire.Decode(frame)
	if err != nil {
		return err
	}
	select {
	case i.in <- m:
		return nil
	case <-i.quit:
		return nil
	}
}

// Close implements service.Instance. A method that does not return goes on, and
// nobody hears of it.
func (i *instance) Close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.receive != nil {
		i.receive = nil
		close(i.quit)
	}
}

func (i *instance) say(m wire.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.receive != nil {
		i.receive(wire.Encode(nil, m))
	}
}

func (i *instance) serve() {
	for {
		select {
		case m := <-i.in:
			s, ok := m.(*wire.Start)
			if !ok {
				continue
			}
			if last := Serve(s, i.methods[s.To.Service+"."+s.To.Method], i.ask); last != nil {
				i.say(last)
			}
		case <-i.quit:
			return
		}
	}
}

// ask sends a question and waits for its answer.
func (i *instance) ask(m wire.Message) *wire.Answer {
	i.say(m)
	if wire.Silent(m) {
		return nil
	}
	select {
	case m := <-i.in:
		if a, ok := m.(*wire.Answer); ok {
			return a
		}
	case <-i.quit:
	}
	return &wire.Answer{Value: wire.Value{Code: wire.Aborted}}
}
