package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/flow"
)

// Call is one execution of a function.
type Call struct {
	Function *Function

	Input  []byte   // standard input; of Python the event, as JSON or, with Raw, as bytes
	Stdin  *os.File // instead of Input: a sealed memory file, a file or a pipe; stays the caller's
	Raw    bool     // Python: the event is the input's bytes and not the JSON in it
	Stream *os.File // instead of capturing the output: where it goes while it is made; stays the caller's
	Slots  Slots    // the buffers of the run; nil: the call has none

	// Log hears the lines that the call writes to standard error; Python's prints
	// are among them. It is called by one goroutine, before Wait returns. Lines
	// longer than 64 KiB are cut in pieces. Nil: nobody.
	Log func(line string)

	// What a handler's context says.
	Run     string
	Step    string // path in the run
	Index   int    // of a foreach; -1: none
	Attempt int
	Key     string   // idempotency key
	Trace   string   // traceparent
	Env     []string // variables of this call alone, NAME=value

	// Of an application, which answers requests: the request, whose body is the
	// input, and who hears the head of its response. Without a request it gets a
	// POST of the input to "/"; without Respond a status of 400 or more is a
	// failure. Respond is called once, before any of the body is in Stream, and
	// before Wait returns.
	HTTP    *Request
	Respond func(status int, header http.Header)

	// Avoid reports whether a worker is better not given the call if it can be served
	// elsewhere; nil: none is. It must not block.
	Avoid func(worker *Process) bool

	// Frames is a stream for the process to speak with whoever has its other end, such as
	// that of an instance of a service (package service/wire); nil: there is none. A program,
	// or a handler, finds it by WEFT_SERVICE_FD. It stays the caller's. The call has no Slots, and the
	// function is not Resident.
	Frames *os.File

	control *os.File // of a worker: the socket from which it gets its calls

	Time  time.Duration // from start to end; default: Limits.Time
	Grace time.Duration // between SIGTERM and SIGKILL when its time is over; default: SIGKILL at once
}

// stockDelay is how long after a call's start its successor's process is forked,
// unless the call ends sooner.
const stockDelay = 4 * time.Millisecond

// outputMax is the longest output that Result has as bytes.
const outputMax = 64 << 10

// Start starts a call. It returns when the call's process has been told to run;
// ctx bounds the wait for the function's fork server, not the call. What is
// wrong with the function is an error of type *flow.Failure.
func (p *Pool) Start(ctx context.Context, c Call) (*Process, error) {
	began := time.Now()
	if c.Function == nil {
		return nil, errors.New("start process: no function")
	}
	if c.Time <= 0 {
		c.Time = c.Function.Limits.Time
	}
	for try := 0; ; try++ {
		s, err := p.server(ctx, c.Function)
		if err != nil {
			return nil, err
		}
		start := s.start1
		if c.Function.Resident != ResidentNone {
			start = func(c Call, began time.Time) (*Process, error) { return s.startResident(ctx, c, began) }
		}
		process, err := start(c, began)
		if err == nil {
			return process, nil
		}
		gone := errors.Is(err, errEnding) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed)
		if gone { // since we looked; another one may do better
			p.forget(s)
			s.end()
		}
		if f := (*flow.Failure)(nil); errors.As(err, &f) || ctx.Err() != nil {
			return nil, err
		}
		if !gone || try == 1 {
			return nil, s.refused(false, "%v", err)
		}
	}
}

// start1 starts a call at this server.
func (s *server) start1(c Call, began time.Time) (*Process, error) {
	x, err := s.take()
	if err != nil {
		return nil, err
	}
	p := &Process{server: s, call: c, id: x.id, group: x.group, began: began, done: make(chan struct{})}
	m := message{kind: msgStart, id: x.id}
	files, theirs, err := p.open()
	if err == nil {
		m.text, m.a, err = s.assignment(c)
	}
	if err == nil {
		if c.Time > 0 && c.control == nil {
			p.timer = time.AfterFunc(c.Time, p.expire)
		}
		err = s.hand(p, m, files)
	}
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		p.group = nil
		p.release()
		s.toss(x)
		return nil, err
	}
	s.pool.work.Go(func() {
		select { // what is made ahead must not be in the way of what is wanted now
		case <-p.done:
		case <-time.After(stockDelay):
		case <-s.pool.quit:
		}
		s.stock()
	})
	return p, nil
}

// hand gives a call to its process. Without an error its end will be told, by
// the warden or because that has ended.
func (s *server) hand(p *Process, m message, files []*os.File) error {
	s.mu.Lock()
	if s.ending || s.retired && len(s.calls) == 0 {
		s.mu.Unlock()
		return errEnding
	}
	s.calls[p.id] = p
	s.mu.Unlock()
	err := s.conn.send(m.append, files...)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[p.id] != p { // told already
		return nil
	}
	delete(s.calls, p.id)
	return err
}

// assignment is what the process reads before it runs.
func (s *server) assignment(c Call) ([]byte, uint32, error) {
	if s.f.Runtime == Native {
		var env []string
		for name, value := range s.environment(&c) {
			env = append(env, name+"="+value)
		}
		if c.control != nil {
			env = append(env, "WEFT_WORKER=3")
		} else if c.Frames != nil {
			env = append(env, "WEFT_SERVICE_FD=3")
		} else if c.Slots != nil {
			env = append(env, "WEFT_FD=3")
		}
		text := []byte(strings.Join(env, "\x00"))
		if len(env) > 0 {
			text = append(text, 0)
		}
		if len(text) > textMax || len(env) > 250 {
			return nil, 0, fmt.Errorf("its environment of %d bytes is too long", len(text))
		}
		return text, uint32(len(env)), nil
	}
	meta := s.meta(&c)
	if c.Frames != nil {
		meta["frames"] = true
	}
	text, err := json.Marshal(meta)
	if err == nil && len(text) > textMax {
		err = fmt.Errorf("its environment and context of %d bytes are too long", len(text))
	}
	return text, 0, err
}

// environment is that of a native call alone.
func (s *server) environment(c *Call) map[string]string {
	env := map[string]string{}
	for _, v := range c.Env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	for name, value := range map[string]string{"WEFT_RUN": c.Run, "WEFT_STEP": c.Step, "WEFT_KEY": c.Key, "TRACEPARENT": c.Trace} {
		if value != "" {
			env[name] = value
		}
	}
	if c.Attempt > 0 {
		env["WEFT_ATTEMPT"] = strconv.Itoa(c.Attempt)
	}
	return env
}

// meta is what a handler's context says.
func (s *server) meta(c *Call) map[string]any {
	env := map[string]string{}
	for _, v := range c.Env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	meta := map[string]any{"function": s.f.Name, "run": c.Run, "step": c.Step, "index": c.Index, "attempt": c.Attempt, "key": c.Key,
		"trace": c.Trace, "raw": c.Raw, "env": env}
	if c.Time > 0 {
		meta["left"] = c.Time.Seconds()
	}
	return meta
}

// open makes the descriptors of a call: those to send, in order, and which of
// them are to be closed then.
func (p *Process) open() (files, theirs []*os.File, err error) {
	c := &p.call
	stdin, stdout := c.Stdin, c.Stream
	switch {
	case stdin != nil:
	case len(c.Input) == 0:
		stdin = p.server.pool.null
	default:
		if stdin, err = memoryFile("stdin", c.Input); err != nil {
			return nil, nil, err
		}
		theirs = append(theirs, stdin)
	}
	if stdout == nil {
		if stdout, err = memoryFile("stdout", nil); err != nil {
			return nil, theirs, err
		}
		p.output = stdout
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, theirs, fmt.Errorf("make a pipe: %w", err)
	}
	theirs = append(theirs, write)
	p.reading.Go(func() { p.hear(read) })
	files = []*os.File{stdin, stdout, write}
	if c.control != nil {
		files = append(files, c.control)
	} else if c.Frames != nil {
		files = append(files, c.Frames)
	} else if c.Slots != nil {
		conn, end, err := newPair(frameMax)
		if err != nil {
			return nil, theirs, err
		}
		theirs = append(theirs, end)
		files = append(files, end)
		p.slots = newSlotServer(conn, c.Slots, &p.server.pool.fresh, p.server.limit.Memory)
		p.reading.Go(p.slots.serve)
	}
	return files, theirs, nil
}
