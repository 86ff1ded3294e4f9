package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/flow"
)

// Resident says how the calls of a function are served by processes that stay,
// its workers. Calls of one worker share memory and /tmp.
type Resident string

// The kinds of workers.
const (
	ResidentNone    Resident = ""        // each call is a process of its own
	ResidentHandler Resident = "handler" // one call after another
	ResidentWSGI    Resident = "wsgi"    // the handler is a WSGI application, by default "app"; one request after another
	ResidentASGI    Resident = "asgi"    // the handler is an ASGI application, by default "app"; many requests at a time
)

// Serves reports whether the function is an application that answers requests.
func (r Resident) Serves() bool { return r == ResidentWSGI || r == ResidentASGI }

// Messages between node and worker.
const (
	msgCall    = 30 // to the worker: flags, length of the context; context and body; output, input, buffers, log
	msgCancel  = 31
	msgStop    = 32
	msgWorking = 40 // from it: it can serve
	msgRespond = 41 // status; the header as a list of pairs
	msgLog     = 42 // lines
	msgDone    = 43 // what was wrong, 0 for nothing; CPU time in µs since its start, resident KiB, bytes of output, exit status; output or text

	callBody   = 1
	callStream = 2
	callSlots  = 4
	callRaw    = 8
	callLog    = 16
)

// bodyMax is the size up to which an input travels in the message.
const bodyMax = 16 << 10

// statusMax is the greatest status of a response; the least that ends a request
// is 200.
const statusMax = 999

// How long a worker may take.
const (
	stopTime = 5 * time.Second  // to end when it is told to
	sendTime = 10 * time.Second // to take a message when those before it fill its socket
)

// worker is a process that serves many calls. For the warden it is one call.
type worker struct {
	server *server
	host   *Process // that call
	sock   *socket
	kind   Resident

	// guarded by server.mu
	calls   map[uint64]*Process
	ready   bool
	closing bool // it gets no more calls
	retired bool // neither: it ends with those that it has
	cpu     int64
	used    time.Time
	late    *time.Timer // ends a worker that does not get ready
	why     string      // it was ended by the node, for this reason
}

// room is how many calls a worker of the function serves at a time.
func (f *Function) room() int {
	if f.Resident == ResidentASGI {
		return f.Concurrency
	}
	return 1
}

// startResident has a worker serve a call.
func (s *server) startResident(ctx context.Context, c Call, began time.Time) (*Process, error) {
	if c.HTTP == nil && s.f.Resident.Serves() {
		c.HTTP = plainRequest()
	}
	select {
	case s.seats <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.leaving:
		return nil, errEnding
	}
	p := &Process{server: s, call: c, began: began, done: make(chan struct{})}
	w, err := s.seat(p)
	if err != nil {
		<-s.seats
		return nil, err
	}
	if err := w.give(p); err != nil {
		w.leave(p)
		p.release()
		w.end(fmt.Sprintf("does not take calls: %v", err))
		return nil, s.refused(false, "%v", err)
	}
	return p, nil
}

// seat finds the worker of a call, or starts one. There is room: the call has
// one of as many seats as all workers have.
func (s *server) seat(p *Process) (*worker, error) {
	s.hiring.Lock() // one at a time, so that two calls do not start two workers where one is missing
	defer s.hiring.Unlock()
	there := 0
	join := func(any bool) *worker {
		there = 0
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, w := range s.workers {
			if w.closing || w.retired {
				continue
			}
			if there++; len(w.calls) < s.f.room() && (any || p.call.Avoid == nil || !p.call.Avoid(w.host)) {
				s.last++
				p.id, p.worker = s.last, w
				p.cpu = w.cpu
				w.calls[p.id], w.used = p, time.Now()
				return w
			}
		}
		return nil
	}
	if w := join(false); w != nil {
		return w, nil
	}
	if there >= s.f.Workers { // then they have room, which it would rather not have
		if w := join(true); w != nil {
			return w, nil
		}
	}
	if err := s.hire(); err != nil {
		return nil, err
	}
	if w := join(true); w != nil {
		return w, nil
	}
	return nil, errEnding
}

// hire starts a worker.
func (s *server) hire() error {
	conn, theirs, err := newPair(messageSize + textMax)
	if err != nil {
		return err
	}
	w := &worker{server: s, sock: conn, kind: s.f.Resident, calls: map[uint64]*Process{}, used: time.Now()}
	host, err := s.start1(Call{Function: s.f, Attempt: 1, Index: -1, Log: func(line string) { w.log(0, line) }, control: theirs}, time.Now())
	theirs.Close()
	if err != nil {
		conn.close()
		return err
	}
	w.host = host
	s.mu.Lock()
	s.workers = append(s.workers, w)
	w.late = time.AfterFunc(s.limit.Import, func() {
		w.end(fmt.Sprintf("was not ready within %v: its startup takes too long", s.limit.Import))
	})
	s.mu.Unlock()
	s.pool.work.Go(w.listen)
	return nil
}

// give sends a call to its worker.
func (w *worker) give(p *Process) error {
	c := &p.call
	m := message{kind: msgCall, id: p.id}
	meta := w.server.meta(c)
	if w.server.f.Runtime == Native {
		meta["env"] = w.server.environment(c)
		meta["cpu"] = int64((w.server.limit.CPU + time.Second - 1) / time.Second)
	}
	if c.HTTP != nil {
		meta["http"] = c.HTTP.meta()
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	m.v[0] = int64(len(text))
	if c.Raw {
		m.a |= callRaw
	}
	files, theirs := []*os.File{c.Stream}, []*os.File(nil)
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	if c.Stream != nil {
		m.a |= callStream
	} else {
		if p.output, err = memoryFile("stdout", nil); err != nil {
			return err
		}
		files[0] = p.output
	}
	switch {
	case c.Stdin != nil:
		m.a |= callBody
		files = append(files, c.Stdin)
	case len(c.Input) > bodyMax:
		f, err := memoryFile("stdin", c.Input)
		if err != nil {
			return err
		}
		theirs = append(theirs, f)
		m.a |= callBody
		files = append(files, f)
	default:
		text = append(text, c.Input...)
	}
	if len(text) > textMax {
		return fmt.Errorf("its context of %d bytes is too long", len(text))
	}
	if c.Slots != nil && w.kind == ResidentHandler {
		conn, end, err := newPair(frameMax)
		if err != nil {
			return err
		}
		theirs = append(theirs, end)
		m.a |= callSlots
		files = append(files, end)
		p.slots = newSlotServer(conn, c.Slots, &w.server.pool.fresh, w.server.limit.Memory)
		p.reading.Go(p.slots.serve)
	}
	if w.server.f.Runtime == Native {
		read, write, err := os.Pipe()
		if err != nil {
			return err
		}
		theirs = append(theirs, write)
		m.a |= callLog
		files = append(files, write)
		p.log = read
		p.reading.Go(func() { p.hear(read) })
	}
	m.text = text
	if t := c.Time; t > 0 {
		p.timer = time.AfterFunc(t, p.expire)
	}
	return w.sock.sendBy(time.Now().Add(sendTime), m.append, files...)
}

// leave takes a call from its worker, and reports whether it was there.
func (w *worker) leave(p *Process) bool {
	w.server.mu.Lock()
	there := w.calls[p.id] == p
	delete(w.calls, p.id)
	w.used = time.Now()
	last := w.server.retired && w.server.unused()
	idle := w.retired && there && len(w.calls) == 0 && !w.closing
	w.server.mu.Unlock()
	if last {
		w.server.end()
	} else if idle {
		w.stop()
	}
	if there {
		<-w.server.seats
	}
	return there
}

// listen carries out the worker's messages until it ends, and sees to what it
// leaves.
func (w *worker) listen() {
	w.hear()
	w.server.mu.Lock()
	w.closing = true
	w.server.mu.Unlock()
	select { // it says no more, and has this long to end
	case <-w.host.done:
	case <-time.After(stopTime):
		w.host.Kill()
		<-w.host.done
	}
	w.sock.close()
	w.late.Stop()
	s := w.server
	s.mu.Lock()
	s.workers = slices.DeleteFunc(s.workers, func(o *worker) bool { return o == w })
	var lost []*Process
	for _, p := range w.calls {
		lost = append(lost, p)
	}
	why, ready := w.why, w.ready
	s.mu.Unlock()
	for _, p := range lost {
		if w.leave(p) {
			p.bereave(w.host.Wait(), why, ready)
		}
	}
}

// hear reads messages until there are no more.
func (w *worker) hear() {
	for {
		b, fds, err := w.sock.receive()
		closeFDs(fds) // it sends none
		if err != nil {
			return
		}
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		s := w.server
		s.mu.Lock()
		p := w.calls[m.id]
		s.mu.Unlock()
		switch {
		case m.kind == msgWorking:
			w.late.Stop()
			s.mu.Lock()
			w.ready = true
			s.mu.Unlock()
		case m.kind == msgLog:
			for line := range strings.Lines(string(m.text)) {
				w.log(m.id, strings.TrimSuffix(line, "\n"))
			}
		case m.kind == msgRespond && p != nil:
			if why := p.respond(m); why != "" {
				w.end(why)
				return
			}
		case m.kind == msgDone && p != nil:
			s.mu.Lock()
			// Of several at a time, who ends is charged with what the worker has used since
			// the last one did: right on average, so that a heavy application is not taken to
			// need nothing.
			p.cpu, w.cpu = m.v[0]-w.cpu, m.v[0]
			s.mu.Unlock()
			if w.leave(p) {
				p.complete(m)
			}
		}
	}
}

// log passes on a line that the worker has printed for a call, or for none.
func (w *worker) log(id uint64, line string) {
	s := w.server
	s.mu.Lock()
	p := w.calls[id]
	if id == 0 && len(w.calls) == 1 {
		for _, p = range w.calls {
		}
	}
	s.mu.Unlock()
	if p == nil {
		s.pool.o.Log(s.f.Name, line)
	} else if p.call.Log != nil {
		p.logging.Lock()
		p.call.Log(line)
		p.logging.Unlock()
	}
}

// end ends a worker at once. The calls that it serves fail for the reason.
func (w *worker) end(why string) {
	w.server.mu.Lock()
	w.closing = true
	if w.why == "" {
		w.why = why
	}
	w.server.mu.Unlock()
	w.host.Kill()
}

// stop has a worker end in its own time, which for an application includes its
// shutdown.
func (w *worker) stop() {
	w.server.mu.Lock()
	w.closing = true
	w.server.mu.Unlock()
	m := message{kind: msgStop}
	if w.sock.sendBy(time.Now().Add(time.Second), m.append) != nil {
		w.host.Kill()
	}
}

// retire has a worker stop when its calls have ended.
func (w *worker) retire() {
	w.server.mu.Lock()
	idle := len(w.calls) == 0 && !w.closing
	w.retired = true
	w.server.mu.Unlock()
	if idle {
		w.stop()
	}
}

// dismiss stops the workers that have had nothing to do for a time, and returns
// them.
func (s *server) dismiss(idle time.Duration, now time.Time) []*worker {
	var old []*worker
	s.mu.Lock()
	for _, w := range s.workers {
		if len(w.calls) == 0 && now.Sub(w.used) >= idle && !w.closing {
			old = append(old, w)
		}
	}
	s.mu.Unlock()
	for _, w := range old {
		w.stop()
	}
	return old
}

// quit ends the call of a worker. Only an application can be told to give up one
// request; if it does not, or of another kind, its worker ends.
func (p *Process) quit() {
	w := p.worker
	if w.kind != ResidentASGI {
		w.end("was ended with a call that it served")
		return
	}
	m := message{kind: msgCancel, id: p.id}
	if w.sock.sendBy(time.Now().Add(time.Second), m.append) != nil {
		w.end("does not take messages")
		return
	}
	p.server.pool.work.Go(func() {
		select {
		case <-p.done:
		case <-time.After(max(p.call.Grace, time.Second)):
			w.end("was ended with a request that would not end")
		}
	})
}

// settle ends what a call and the node have between them, while its process
// goes on: the log is what has been written, and what it has published is final.
func (p *Process) settle() error {
	if p.log != nil {
		p.log.SetReadDeadline(time.Unix(1, 0)) // has hear read what is there
	}
	if p.slots == nil {
		return nil
	}
	p.slots.conn.close()
	p.reading.Wait()
	return p.slots.fresh.sealAll(p.slots)
}

// respond passes on the head of a response. A worker runs the function's code, so
// what it says may be anything: what is wrong with it, if something is, ends the
// worker.
func (p *Process) respond(m message) (wrong string) {
	var list [][2]string
	switch err := json.Unmarshal(m.text, &list); {
	case p.status != 0:
		return "gave a request two responses"
	case err != nil || m.a < http.StatusOK || m.a > statusMax:
		return fmt.Sprintf("gave a response without a valid head, with the status %d", m.a)
	}
	p.status = int(m.a)
	if p.call.Respond != nil {
		p.call.Respond(p.status, head(list))
	}
	return ""
}

// complete notes how a call of a worker ended.
func (p *Process) complete(m message) {
	p.once.Do(func() {
		p.result.Wall = time.Since(p.began)
		if p.timer != nil {
			p.timer.Stop()
		}
		p.result.CPU = time.Duration(min(max(p.cpu, 0), int64(24*time.Hour/time.Microsecond))) * time.Microsecond
		p.result.Memory = min(max(m.v[1], 0), p.server.limit.Memory>>10) << 10
		switch {
		case m.a != 0 && p.killed.Load():
			p.result.Failure = p.fail(KindKilled, "was killed")
		case m.a != 0 && p.expired.Load():
			p.result.Failure = p.fail(KindTimeout, "ran longer than %v", p.call.Time)
		case m.a == saidExited:
			p.result.Failure = p.fail(KindExit, "exited with status %d", m.v[3]&0xff)
		case m.a != 0:
			p.result.Failure = p.said(int(m.a), string(m.text))
		}
		if err := p.settle(); err != nil && p.result.Failure == nil {
			p.result.Failure = p.fail(KindExit, "published what it can still write: %v", err)
		}
		if p.result.Failure == nil && p.worker.kind.Serves() && p.status == 0 {
			p.result.Failure = p.fail(KindExit, "ended without a response")
		}
		if p.result.Failure != nil {
			p.result.Code = max(int(m.v[3]&0xff), 1)
		}
		p.collect()
		if n := int64(len(m.text)); m.a == 0 && n > 0 && p.output != nil && n == m.v[2] {
			p.result.Output, p.result.Size = m.text, n
		}
		if p.result.Failure == nil && p.call.Respond == nil && p.status >= http.StatusBadRequest {
			p.result.Code = 1
			p.result.Failure = p.fail(KindExit, "answered %d %s: %s", p.status, http.StatusText(p.status), last(string(p.result.Output), 500))
		}
		p.release()
		close(p.done)
	})
}

// bereave ends a call whose worker has ended.
func (p *Process) bereave(r Result, why string, ready bool) {
	p.once.Do(func() {
		p.result = Result{Code: max(r.Code, 1), CPU: r.CPU, Wall: time.Since(p.began), Memory: r.Memory}
		f := r.Failure
		switch {
		case p.killed.Load():
			f = p.fail(KindKilled, "was killed")
		case p.expired.Load():
			f = p.fail(KindTimeout, "ran longer than %v", p.call.Time)
		case why != "" && !ready:
			f = p.fail(KindRefused, "could not run: its worker %s", why)
		case why != "":
			f = p.fail(KindLost, "was lost: its worker %s", why)
			f.Free = true
		case f == nil:
			f = p.fail(KindExit, "was lost: its worker ended itself")
		default:
			copied := *f
			f = &copied
		}
		p.result.Failure = f
		p.release()
		close(p.done)
	})
}

// said is the failure that a process tells of itself; nil where it tells none.
func (p *Process) said(what int, text string) *flow.Failure {
	switch what {
	case saidMemory:
		return p.fail(KindLimit, "was ended: it used more than the %d MiB of memory that it may: %s", p.server.limit.Memory>>20, text)
	case saidOutput:
		f := p.fail(KindOutput, "has no valid output: %s", text)
		f.Permanent = true
		return f
	case saidRaised:
		return p.fail(KindExit, "raised %s", text)
	case saidRefused:
		return p.fail(KindRefused, "could not run: %s", text)
	}
	return nil
}

// sendBy is send that gives up at a time.
func (s *socket) sendBy(t time.Time, fill func([]byte) []byte, files ...*os.File) error {
	if err := s.conn.SetWriteDeadline(t); err != nil {
		return err
	}
	err := s.send(fill, files...)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, unix.EPIPE) {
		return fmt.Errorf("its worker does not take it: %w", err)
	}
	return err
}
