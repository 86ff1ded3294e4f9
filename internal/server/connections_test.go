package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// bench is a server with two places, whose requests end when they are told to.
type bench struct {
	t       *testing.T
	address string
	server  *http.Server
	begun   chan struct{} // a request has come
	end     chan struct{} // requests may end
	later   chan struct{} // those for /later may, too
	idle    chan struct{} // a connection has nothing to do
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, begun: make(chan struct{}, 10), end: make(chan struct{}), later: make(chan struct{}), idle: make(chan struct{}, 10)}
	c := newConnections(2)
	state := func(conn net.Conn, now http.ConnState) {
		c.state(conn, now)
		if now == http.StateIdle {
			b.idle <- struct{}{}
		}
	}
	b.server = &http.Server{ConnState: state, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.begun <- struct{}{}
		<-b.end
		if r.URL.Path == "/later" {
			<-b.later
		}
		if c.crowded() {
			w.Header().Set("Connection", "close")
		}
		io.WriteString(w, "done")
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(c.bound(l)) }()
	t.Cleanup(func() {
		b.server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended with %v", err)
		}
		places := func() int {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.of)
		}
		for end := time.Now().Add(10 * time.Second); places() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections have places", places())
			}
		}
	})
	return b
}

// ask sends a request over a new connection.
func (b *bench) ask(path string) net.Conn {
	b.t.Helper()
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: weft\r\n\r\n"); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// answered reads the answer of a connection's request.
func (b *bench) answered(conn net.Conn) {
	b.t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.ReadAll(r.Body); err != nil {
		b.t.Fatal(err)
	}
}

// rests is answered for a connection that is kept, and waits until it has nothing to do.
func (b *bench) rests(conn net.Conn) {
	b.t.Helper()
	b.answered(conn)
	<-b.idle
}

// closed waits for the end of a connection.
func (b *bench) closed(conn net.Conn) {
	b.t.Helper()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		b.t.Errorf("the connection is not closed: %d bytes, %v", n, err)
	}
}

// A connection beyond the bound is served when there is place: when another one is closed, and when another one's
// request is answered, with which it is closed.
func TestConnectionsAreBounded(t *testing.T) {
	b := newBench(t)
	one, two := b.ask("/"), b.ask("/")
	<-b.begun
	<-b.begun
	three, four := b.ask("/later"), b.ask("/later")
	select {
	case <-b.begun:
		t.Error("three requests are answered at a time")
	case <-time.After(50 * time.Millisecond): // that it does not happen later either is what the rest would show
	}
	two.Close() // its request goes on
	close(b.end)
	b.answered(one)
	<-b.begun
	<-b.begun
	b.closed(one)
	close(b.later)
	b.answered(three)
	b.answered(four)
}

// Connections that have nothing to do are kept as long as nobody wants their place. Then the one that has had nothing
// to do for the longest time is closed.
func TestIdleConnectionsAreKept(t *testing.T) {
	b := newBench(t)
	close(b.end)
	one, two := b.ask("/"), b.ask("/")
	b.rests(one)
	b.rests(two)
	io.WriteString(one, "GET / HTTP/1.1\r\nHost: weft\r\n\r\n")
	b.rests(one)
	b.answered(b.ask("/"))
	b.closed(two)
	io.WriteString(one, "GET / HTTP/1.1\r\nHost: weft\r\n\r\n")
	b.rests(one)
}

// A server that ends does not wait for connections that wait for a place.
func TestCloseWhileConnectionsWait(t *testing.T) {
	b := newBench(t)
	b.ask("/")
	b.ask("/")
	<-b.begun
	<-b.begun
	b.ask("/")
	close(b.end)
}
