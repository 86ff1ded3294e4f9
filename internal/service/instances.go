package service

import (
	"fmt"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
)

// Instances starts instances of services.
type Instances interface {
	// Start makes an instance of a service of a version of an app. It calls receive
	// with every frame that the instance sends, which belongs to receive, one at a
	// time and in order, and gone once, when the instance is dead, whyever.
	Start(service, version string, receive func(frame []byte), gone func(error)) (Instance, error)
}

// Instance executes methods, one execution at a time (package wire).
type Instance interface {
	// Send takes a frame to the instance. It does not wait for the instance.
	Send(frame []byte) error
	// Close ends the instance and returns when it is dead: nothing that it does is
	// seen any more.
	Close()
}

// kind is what an instance can execute.
type kind struct{ service, version string }

// instance is one of the node's.
type instance struct {
	kind  kind
	call  uint64 // what it executes; 0: nothing
	real  Instance
	start *wire.Start // to be sent when it is there
	dead  bool
}

// freeMax bounds the instances of a kind that are kept without work.
const freeMax = 64

// send takes a message to the instance that has an execution.
func (s *Services) send(m wire.Message) {
	switch m := m.(type) {
	case *wire.Start:
		s.begin(m)
	case *wire.Answer:
		if i := s.running[m.Call]; i != nil && i.real != nil {
			s.say(i, m)
		}
	}
}

// say sends a frame. An instance that does not take it is dead soon, and says so.
func (s *Services) say(i *instance, m wire.Message) {
	if err := i.real.Send(wire.Encode(nil, m)); err != nil {
		s.lost(i, err)
	}
}

// begin gives an execution an instance: one that is free, or a new one.
func (s *Services) begin(m *wire.Start) {
	k := kind{m.To.Service, s.machine.Version(m.Request)}
	if list := s.free[k]; len(list) > 0 {
		i := list[len(list)-1]
		s.free[k] = list[:len(list)-1]
		i.call = m.Call
		s.running[m.Call] = i
		s.say(i, m)
		return
	}
	i := &instance{kind: k, call: m.Call, start: m}
	s.running[m.Call] = i
	s.done.Go(func() {
		real, err := s.o.Instances.Start(k.service, k.version, func(frame []byte) { s.receive(i, frame) }, func(err error) {
			s.post(func() { s.lost(i, err) })
		})
		if !s.post(func() { s.started(i, real, err) }) && err == nil {
			real.Close()
		}
	})
}

// started takes a new instance in.
func (s *Services) started(i *instance, real Instance, err error) {
	if err != nil {
		s.lost(i, fmt.Errorf("start an instance of %s: %w", i.kind.service, err))
		return
	}
	i.real = real
	switch {
	case i.dead: // it was started in vain
		s.done.Go(real.Close)
	default:
		s.say(i, i.start)
		i.start = nil
	}
}

// receive takes a frame of an instance in.
func (s *Services) receive(i *instance, frame []byte) {
	m, err := wire.Decode(frame)
	s.post(func() {
		switch {
		case i.dead:
		case err != nil:
			s.lost(i, err)
		case !belongs(m, i.call):
		default:
			s.local = append(s.local, machine.Asked{Message: m})
		}
	})
}

// belongs reports whether a message is about an execution: an instance speaks of the
// one that it has.
func belongs(m wire.Message, call uint64) bool {
	if ran, ok := m.(*wire.Ran); ok {
		return ran.Call == call
	}
	q, ok := m.(wire.Asker)
	return ok && q.Head().Call == call
}

// lost notes that an instance is dead, or has to be.
func (s *Services) lost(i *instance, err error) {
	if i.dead {
		return
	}
	why := "the instance has ended"
	if err != nil {
		why = err.Error()
	}
	s.drop(i, func() { s.local = append(s.local, machine.Lost{Call: i.call, Why: why}) })
}

// kill ends an instance, and tells the machine when it is dead.
func (s *Services) kill(call uint64) {
	if i := s.running[call]; i != nil && !i.dead {
		s.drop(i, func() {
			s.local = append(s.local, machine.Lost{Call: call, Why: "it took too long, or was cancelled"})
		})
	}
}

// drop ends an instance, and goes on when it is dead.
func (s *Services) drop(i *instance, then func()) {
	i.dead = true
	delete(s.running, i.call)
	list := s.free[i.kind]
	for n := range list {
		if list[n] == i {
			s.free[i.kind] = append(list[:n:n], list[n+1:]...)
			break
		}
	}
	if i.real == nil {
		then()
		return
	}
	s.done.Go(func() {
		i.real.Close()
		s.post(then)
	})
}

// release takes an instance back whose execution is over. One whose execution was
// given up is ended: its memory may be anything.
func (s *Services) release(e machine.Free) {
	i := s.running[e.Call]
	if i == nil {
		return
	}
	if !e.Clean || len(s.free[i.kind]) >= freeMax {
		s.drop(i, func() {})
		return
	}
	delete(s.running, e.Call)
	i.call = 0
	s.free[i.kind] = append(s.free[i.kind], i)
}

// close ends an instance at the services' end.
func (i *instance) close() {
	if i.real != nil {
		i.real.Close()
	}
}
