package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
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

	Grace time.Duration // between SIGTERM and SIGKILL when its time is over; default: SIGKILL at once
}

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
	for try := 0; ; try++ {
		s, err := p.server(ctx, c.Function)
		if err != nil {
			return nil, err
		}
		process, err := s.start1(c, began)
		if err == nil {
			return process, nil
		}
		p.forget(s) // it ended since; another one may do better
		s.end()
		if try == 1 || !errors.Is(err, errEnding) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
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
	files, err := p.open()
	defer func() {
		for _, f := range p.theirs {
			f.Close()
		}
		p.theirs = nil
	}()
	if err != nil {
		s.conn.send((&message{kind: msgSignal, id: x.id, a: uint32(unix.SIGKILL)}).append)
		p.release()
		return nil, err
	}
	m := message{kind: msgStart, id: x.id}
	if m.text, m.a, err = s.assignment(c); err == nil {
		s.mu.Lock()
		if s.ending {
			err = errEnding
		} else {
			s.calls[x.id] = p
		}
		s.mu.Unlock()
	}
	if err != nil {
		s.conn.send((&message{kind: msgSignal, id: x.id, a: uint32(unix.SIGKILL)}).append)
		p.release()
		return nil, err
	}
	if s.limit.Time > 0 {
		p.timer = time.AfterFunc(s.limit.Time, p.expire)
	}
	if err := s.conn.send(m.append, files...); err != nil {
		s.mu.Lock()
		_, mine := s.calls[x.id]
		delete(s.calls, x.id)
		s.mu.Unlock()
		if mine {
			p.release()
			return nil, err
		}
	}
	if s.pool.o.Spare > 0 {
		s.pool.work.Go(s.stock)
	}
	return p, nil
}

// assignment is what the process reads before it runs.
func (s *server) assignment(c Call) ([]byte, uint32, error) {
	if s.f.Runtime == Native {
		env := slices.Clone(c.Env)
		if c.Slots != nil {
			env = append(env, "WEFT_FD=3")
		}
		for name, value := range map[string]string{"WEFT_RUN": c.Run, "WEFT_STEP": c.Step, "WEFT_KEY": c.Key, "TRACEPARENT": c.Trace} {
			if value != "" {
				env = append(env, name+"="+value)
			}
		}
		if c.Attempt > 0 {
			env = append(env, fmt.Sprintf("WEFT_ATTEMPT=%d", c.Attempt))
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
	env := map[string]string{}
	for _, v := range c.Env {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	meta := map[string]any{"function": s.f.Name, "run": c.Run, "step": c.Step, "index": c.Index, "attempt": c.Attempt, "key": c.Key,
		"trace": c.Trace, "raw": c.Raw, "env": env}
	if s.limit.Time > 0 {
		meta["left"] = s.limit.Time.Seconds()
	}
	text, err := json.Marshal(meta)
	if err == nil && len(text) > textMax {
		err = fmt.Errorf("its environment and context of %d bytes are too long", len(text))
	}
	return text, 0, err
}

// open makes the descriptors of a call: those to send, in order.
func (p *Process) open() ([]*os.File, error) {
	c := &p.call
	stdin, stdout := c.Stdin, c.Stream
	var err error
	switch {
	case stdin != nil:
	case len(c.Input) == 0:
		stdin = p.server.pool.null
	default:
		if stdin, err = memoryFile("stdin", c.Input); err != nil {
			return nil, err
		}
		p.theirs = append(p.theirs, stdin)
	}
	if stdout == nil {
		if stdout, err = memoryFile("stdout", nil); err != nil {
			return nil, err
		}
		p.output = stdout
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	p.theirs = append(p.theirs, write)
	p.reading.Go(func() { p.hear(read) })
	files := []*os.File{stdin, stdout, write}
	if c.Slots != nil {
		conn, theirs, err := newPair(frameMax)
		if err != nil {
			return nil, err
		}
		p.theirs = append(p.theirs, theirs)
		files = append(files, theirs)
		p.slots = newSlotServer(conn, c.Slots, &p.server.pool.fresh)
		p.reading.Go(p.slots.serve)
	}
	return files, nil
}
