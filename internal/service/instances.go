package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	asks  uint64      // the question that it waits for the answer of; 0: it runs, or is free
	late  bool        // it was to be ended before it was there
	dead  bool
	stale bool // it serves nobody else
	odd   int  // frames in a row that belong to nothing

	room chan struct{} // holds a token for each frame that has come and is not taken in yet
	idle time.Time     // since when it is free
}

// Bounds of what an instance that keeps to no rules may cost: frames of it that wait to be taken in,
// and frames in a row that belong to no execution. A frame or two of an execution that is over
// are nothing special.
const (
	roomMax = 16
	oddMax  = 1000
)

// freeMax bounds the instances of a kind that are kept without work.
const freeMax = 64

// send takes a message to the instance that has an execution.
func (s *Services) send(m wire.Message) {
	switch m := m.(type) {
	case *wire.Start:
		s.begin(m)
	case *wire.Answer:
		if i := s.running[m.Call]; i != nil && i.real != nil {
			i.asks = 0
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

// Full names of services are APP.NAME. Instances leave the app out: they know the
// services of their own only.

// app is what the full name of a service begins with, the dot included; "" where
// there are no apps.
func app(service string) string { return service[:strings.IndexByte(service, '.')+1] }

// localize makes the names in a message to an instance those that it knows.
func localize(m *wire.Start) *wire.Start {
	local := *m
	local.To.Service = m.To.Service[len(app(m.To.Service)):]
	return &local
}

// globalize makes the names in a message of an instance full ones.
func (k kind) globalize(m wire.Message) {
	switch m := m.(type) {
	case *wire.Invoke:
		m.To.Service = app(k.service) + m.To.Service
	case *wire.Compensate:
		m.To.Service = app(k.service) + m.To.Service
	}
}

// begin gives an execution an instance: one that is free, or a new one.
func (s *Services) begin(m *wire.Start) {
	k := kind{m.To.Service, s.machine.Version(m.Request)}
	m = localize(m)
	if list := s.free[k]; len(list) > 0 {
		i := list[len(list)-1]
		s.free[k] = list[:len(list)-1]
		i.call = m.Call
		s.running[m.Call] = i
		s.say(i, m)
		return
	}
	i := &instance{kind: k, call: m.Call, start: m, room: make(chan struct{}, roomMax)}
	s.running[m.Call] = i
	s.done.Go(func() {
		real, err := s.o.Instances.Start(k.service, k.version, func(frame []byte) { s.receive(i, frame) }, func(err error) {
			s.post(func() { s.lost(i, err) })
		})
		taken := make(chan struct{})
		s.post(func() {
			s.started(i, real, err)
			close(taken)
		})
		select {
		case <-taken:
		case <-s.ending: // what is in the queue now stays there
			select {
			case <-taken:
			default:
				if err == nil {
					real.Close()
				}
			}
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
		if i.late {
			s.local = append(s.local, machine.Served{Call: i.call})
		}
	}
}

// receive takes a frame of an instance in. It waits while many of it have not been.
func (s *Services) receive(i *instance, frame []byte) {
	select {
	case i.room <- struct{}{}:
	case <-s.quit:
		return
	}
	m, err := wire.Decode(frame)
	if err == nil {
		i.kind.globalize(m)
	}
	s.post(func() {
		<-i.room
		switch {
		case i.dead:
		case err != nil:
			s.lost(i, err)
		case !belongs(m, i.call):
			if i.odd++; i.odd > oddMax {
				s.lost(i, errors.New("it speaks of executions that it does not have"))
			}
		default:
			i.odd = 0
			if q, ok := m.(wire.Asker); ok && !wire.Silent(m) {
				i.asks = q.Head().Seq
			}
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

// kill ends an instance, and tells the machine when it is dead. One that is not there yet
// has its time when it is.
func (s *Services) kill(call uint64) {
	i := s.running[call]
	switch {
	case i == nil || i.dead:
	case i.real == nil: // that it takes long to start is not the method's fault
		i.late = true
	default:
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
// given up unwinds it if it waits for an answer, which is that; else it is ended:
// nobody knows what it does.
func (s *Services) release(e machine.Free) {
	i := s.running[e.Call]
	if i == nil {
		return
	}
	if !e.Clean && i.asks == 0 || i.real == nil || i.stale || len(s.free[i.kind]) >= freeMax {
		s.drop(i, func() {})
		return
	}
	if !s.o.Keep(i.kind.service) {
		rested := s.longest()
		if rested == nil {
			s.drop(i, func() {})
			return
		}
		s.drop(rested, func() {}) // rather than one that there was just use for
	}
	if !e.Clean {
		if s.say(i, &wire.Answer{Call: e.Call, Seq: i.asks, Value: wire.Value{Code: wire.Aborted}}); i.dead {
			return
		}
	}
	delete(s.running, e.Call)
	i.call, i.asks, i.idle = 0, 0, s.o.Now()
	s.free[i.kind] = append(s.free[i.kind], i)
	if s.rested.IsZero() {
		s.rested = i.idle.Add(s.o.Idle)
	}
}

// pressedEvery is how often it is looked whether the instances of requests that wait have to
// go because memory is short.
const pressedEvery = time.Second

// relieve takes the instances of requests that wait where memory is short.
func (s *Services) relieve() {
	if s.machine.Idle() == 0 {
		return
	}
	if now := s.o.Now(); !now.Before(s.pressed.Add(pressedEvery)) {
		s.pressed = now
		s.local = append(s.local, machine.Pressed{Short: func(service string) bool { return !s.o.Keep(service) }})
	}
}

// longest is the instance that has had nothing to do for the longest time, nil if none is
// without work.
func (s *Services) longest() (rested *instance) {
	for _, list := range s.free {
		if len(list) > 0 && (rested == nil || list[0].idle.Before(rested.idle)) {
			rested = list[0]
		}
	}
	return rested
}

// Renew has the requests to come of an app served by new instances: what those that are
// there were started with, such as a secret, has changed.
func (s *Services) Renew(appName string) {
	s.post(func() {
		for _, i := range s.running {
			i.stale = i.stale || app(i.kind.service) == appName+"."
		}
		for k, list := range s.free {
			if app(k.service) == appName+"." {
				for _, i := range slices.Clone(list) {
					s.drop(i, func() {})
				}
			}
		}
	})
}

// Dismiss ends the instances of a version of an app that have nothing to do: it is deleted.
func (s *Services) Dismiss(appName, version string) {
	s.post(func() {
		for k, list := range s.free {
			if app(k.service) == appName+"." && k.version == version {
				for _, i := range slices.Clone(list) {
					s.drop(i, func() {})
				}
			}
		}
	})
}

// dismiss ends instances that have had nothing to do for long, and notes when it is the
// turn of the next one.
func (s *Services) dismiss(now time.Time) {
	s.rested = time.Time{}
	for _, list := range s.free {
		for _, i := range slices.Clone(list) { // the one that is idle longest comes first
			due := i.idle.Add(s.o.Idle)
			if due.After(now) {
				if s.rested.IsZero() || due.Before(s.rested) {
					s.rested = due
				}
				break
			}
			s.drop(i, func() {})
		}
	}
}

// close ends an instance at the services' end.
func (i *instance) close() {
	if i.real != nil {
		i.real.Close()
	}
}
