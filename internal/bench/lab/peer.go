package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/weft-run/weft/internal/bench/load"
)

// Peer is a program that drives another system (bench/peers), which weft does not depend on. It reads orders from its standard input and answers each
// on its standard output, a line of JSON both; the first line that it says is an empty answer, when it is ready. It ends, and what it has started
// with it, at the end of its input.
type Peer struct {
	command *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	said    *lastLines
}

// peerOrder asks for runs of ten steps: Count, or as many as Seconds allow, At at a time.
type peerOrder struct {
	Count   int     `json:"count,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	At      int     `json:"at"`
}

// peerAnswer says how long each run took. Error is why there is no more to say.
type peerAnswer struct {
	Micros  []float64 `json:"micros"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"`
	Missing bool      `json:"missing,omitempty"` // what the program needs is not on this machine
}

// ErrNoPeer says that a peer cannot be run on this machine.
var ErrNoPeer = errors.New("not on this machine")

// peerStart bounds how long a peer may take until it is ready, in which it may make a database.
const peerStart = 2 * time.Minute

// StartPeer starts a peer. Close it.
func StartPeer(ctx context.Context, program string) (*Peer, error) {
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: make peers builds it", ErrNoPeer)
	}
	p := &Peer{command: exec.Command(program), said: &lastLines{}}
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as for Server
	var err error
	if p.in, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	p.command.Stderr = writer(func(text []byte) { p.said.add(string(text)) })
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	ctx, cancel := context.WithTimeout(ctx, peerStart)
	defer cancel()
	if _, err := p.answer(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// writer is a function that is written to.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

// PID is the program's process.
func (p *Peer) PID() int { return p.command.Process.Pid }

// Run has runs of ten steps carried out: count of them, or as many as window allows, at at a time. The peer checks its outputs itself.
func (p *Peer) Run(ctx context.Context, count int, window time.Duration, at int) (load.Done, error) {
	text, err := json.Marshal(peerOrder{Count: count, Seconds: window.Seconds(), At: at})
	if err != nil {
		return load.Done{}, err
	}
	if _, err := p.in.Write(append(text, '\n')); err != nil {
		return load.Done{}, fmt.Errorf("ask %s: %w: %s", p.command.Path, err, p.said)
	}
	a, err := p.answer(ctx)
	if err != nil {
		return load.Done{}, err
	}
	if len(a.Micros) < max(count, 1) || a.Seconds <= 0 {
		return load.Done{}, fmt.Errorf("%s has carried out %d runs in %v s, %d were asked for", p.command.Path, len(a.Micros), a.Seconds, count)
	}
	d := load.Done{Took: time.Duration(a.Seconds * 1e9)}
	for _, m := range a.Micros {
		d.Latencies = append(d.Latencies, time.Duration(m*1e3))
	}
	return d, nil
}

// answer reads the next line.
func (p *Peer) answer(ctx context.Context) (peerAnswer, error) {
	stop := context.AfterFunc(ctx, func() { p.in.Close() }) // then it ends, and its output does
	defer stop()
	var a peerAnswer
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case err != nil:
		return a, fmt.Errorf("read what %s says: %w: %s", p.command.Path, err, p.said)
	case a.Missing:
		return a, fmt.Errorf("%w: %s", ErrNoPeer, a.Error)
	case a.Error != "":
		return a, fmt.Errorf("%s: %s", p.command.Path, a.Error)
	}
	return a, nil
}

// Close ends the program and waits for it.
func (p *Peer) Close() error {
	p.in.Close()
	io.Copy(io.Discard, p.out)
	if err := p.command.Wait(); err != nil {
		return fmt.Errorf("end %s: %w: %s", p.command.Path, err, p.said)
	}
	return nil
}
