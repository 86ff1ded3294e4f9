package domain

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/process"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// Instance is a program that stays, apart from the domains of runs, and speaks over a
// stream with who has started it: an instance of a service. Kill it, and wait for its end.
type Instance interface {
	// Kill ends it and everything that belongs to it. It does not wait.
	Kill()
	// Done is closed when nothing of it is left.
	Done() <-chan struct{}
	// Wait waits for that, and says what was wrong with it; nil: it has ended by itself
	// with status 0.
	Wait() *flow.Failure
}

// StartInstance starts a function that speaks with who has the other end of frames, a
// connected stream socket, which the program finds by WEFT_SERVICE_FD. What it prints is
// not captured; log hears what it writes to standard error, and must not keep it.
func (p *Pool) StartInstance(ctx context.Context, f *Function, frames *os.File, log func(text []byte)) (Instance, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	if f.Process == nil {
		return p.startModule(ctx, f, null, frames, log)
	}
	processes, err := p.processPool()
	if err != nil {
		return nil, err
	}
	started, err := processes.Start(ctx, process.Call{
		Function: f.Process, Index: -1, Attempt: 1, Stream: null, Frames: frames,
		Log: func(line string) { log([]byte(line + "\n")) },
	})
	if err != nil {
		return nil, err
	}
	return processInstance{started}, nil
}

type processInstance struct{ *process.Process }

func (p processInstance) Wait() *flow.Failure { return p.Process.Wait().Failure }

// moduleInstance is an instance that is a module: the only call of a domain of its own, in a
// host of its own, which ends with it. So one that computes for ever can be ended, and
// takes nobody along.
type moduleInstance struct {
	d       *Domain
	ended   chan Result
	killing sync.Once
	kill    chan struct{}
	done    chan struct{}
	failure *flow.Failure // written before done is closed
	hearing sync.WaitGroup
}

// moduleCall is the number of the call that an instance is.
const moduleCall = 1

// startModule starts an instance of a module. The stream is the module's own: no message
// of host and node is needed for a frame.
func (p *Pool) startModule(ctx context.Context, f *Function, null, frames *os.File, log func(text []byte)) (Instance, error) {
	own := *f
	own.Output = wire.OutputStream
	i := &moduleInstance{ended: make(chan Result, 1), kill: make(chan struct{}), done: make(chan struct{})}
	d, err := p.Domain(Options{
		Run: "service", Folders: folders(f.Files), Done: func(r Result) { i.ended <- r },
		Quota: 1, // none: what an instance keeps is the service's state
	})
	if err != nil {
		return nil, err
	}
	i.d = d
	said, theirs, err := os.Pipe()
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	i.hearing.Go(func() {
		defer said.Close()
		buf := make([]byte, 4<<10)
		for {
			n, err := said.Read(buf)
			if n > 0 {
				log(buf[:n])
			}
			if err != nil {
				return
			}
		}
	})
	k := &call{
		Call: Call{
			ID: moduleCall, Function: &own, Path: f.Name, Step: f.Name, Index: -1, Attempt: 1, Alone: true,
			Streams: []*os.File{null, null, theirs, frames},
		},
		attempt: buffer.Attempt{Path: f.Name, Number: 1}, running: true,
	}
	d.mu.Lock()
	d.calls[k.ID] = k
	d.mu.Unlock()
	stop := context.AfterFunc(ctx, d.cancel)
	d.startAlone(k)
	stop()
	theirs.Close()
	d.mu.Lock()
	refused := k.host == nil
	d.mu.Unlock()
	if refused {
		i.end()
		return nil, fmt.Errorf("%s", i.failure.Message)
	}
	p.work.Go(i.end)
	return i, nil
}

// folders are those of the files that are folders.
func folders(files []File) []File {
	var all []File
	for _, f := range files {
		if f.Form == "dir" {
			all = append(all, f)
		}
	}
	return all
}

// end waits for the end of an instance, and for that of its host.
func (i *moduleInstance) end() {
	select {
	case r := <-i.ended:
		i.failure = r.Failure
	case <-i.kill:
	case <-i.d.ctx.Done():
	}
	i.d.Close()
	i.d.work.Wait()
	i.hearing.Wait()
	select {
	case r := <-i.ended: // meanwhile
		i.failure = r.Failure
	default:
	}
	close(i.done)
}

// Kill implements Instance.
func (i *moduleInstance) Kill() { i.killing.Do(func() { close(i.kill) }) }

// Done implements Instance.
func (i *moduleInstance) Done() <-chan struct{} { return i.done }

// Wait implements Instance.
func (i *moduleInstance) Wait() *flow.Failure {
	<-i.done
	return i.failure
}
