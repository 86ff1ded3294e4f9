package server

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// restTime is how long a connection has had nothing to do when it may be closed for another one: its client is not
// about to use it, most likely.
const restTime = time.Second

// connections bounds the connections of each listener. Those beyond wait in the kernel, where they cost nothing, until
// another one is closed, has had nothing to do for a while or, where some wait, has had a request answered: it is
// closed then. So what a server can do it does for those
// whom it has let in: accepting everybody, to refuse most, takes the processor from what was begun.
type connections struct {
	max int // of a listener

	mu sync.Mutex
	of map[net.Conn]*place // guarded by mu, as all of bounded and place

	waiting atomic.Int32 // listeners at which a connection waits
}

// place is what a connection has.
type place struct {
	l    *bounded
	idle *list.Element // in l.idle; nil: a request is read or answered
}

// rest is a connection that has nothing to do.
type rest struct {
	conn  net.Conn
	since time.Time
}

// bounded is a listener whose connections are bounded.
type bounded struct {
	net.Listener
	all    *connections
	open   int
	idle   list.List // of rest; the longest one comes first
	room   *sync.Cond
	closed bool
}

func newConnections(limit int) *connections {
	return &connections{max: limit, of: map[net.Conn]*place{}}
}

// bound bounds a listener. The server whose listener it is tells state.
func (c *connections) bound(l net.Listener) *bounded {
	return &bounded{Listener: l, all: c, room: sync.NewCond(&c.mu)}
}

// Accept implements net.Listener. A connection that there is no place for waits here, and others behind it.
func (l *bounded) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.enter(conn) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return conn, nil
}

// enter waits for a place, and reports false if the listener is closed meanwhile.
func (l *bounded) enter(conn net.Conn) bool {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	l.all.waiting.Add(1)
	defer l.all.waiting.Add(-1)
	for l.open >= l.all.max && !l.closed {
		if longest := l.idle.Front(); longest != nil {
			r := longest.Value.(rest)
			soon := restTime - time.Since(r.since)
			if soon <= 0 {
				l.all.leave(r.conn)
				go r.conn.Close() // with TLS it says goodbye, which may take seconds
				continue
			}
			time.AfterFunc(soon, func() {
				l.all.mu.Lock() // it does not signal before it is waited for
				defer l.all.mu.Unlock()
				l.room.Signal()
			})
		}
		l.room.Wait()
	}
	if l.closed {
		return false
	}
	l.open++
	l.all.of[conn] = &place{l: l}
	return true
}

// Close implements net.Listener.
func (l *bounded) Close() error {
	l.all.mu.Lock()
	l.closed = true
	l.room.Broadcast()
	l.all.mu.Unlock()
	return l.Listener.Close()
}

// state implements http.Server.ConnState.
func (c *connections) state(conn net.Conn, now http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.of[conn]
	if p == nil {
		return
	}
	switch now {
	case http.StateActive:
		if p.idle != nil {
			p.l.idle.Remove(p.idle)
			p.idle = nil
		}
	case http.StateIdle:
		p.idle = p.l.idle.PushBack(rest{conn, time.Now()})
		p.l.room.Signal()
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// leave gives a connection's place up. c.mu is held.
func (c *connections) leave(conn net.Conn) {
	p := c.of[conn]
	delete(c.of, conn)
	if p.idle != nil {
		p.l.idle.Remove(p.idle)
	}
	p.l.open--
	p.l.room.Signal()
}

// crowded reports whether some wait, so that a connection is best closed with its answer.
func (c *connections) crowded() bool { return c.waiting.Load() > 0 }
