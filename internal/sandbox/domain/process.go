package domain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox/process"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// processCall is what a call has besides when it is a process.
type processCall struct {
	name    string             // as hosts have one
	cancel  context.CancelFunc // ends the wait for its start
	running *process.Process   // guarded by the domain's mu, as all below
	own     []*buffer.Segment  // what it may still see, held until it has ended
	needs   []uint64           // segments that were made for it
	waits   int                // under way
	timed   int                // of them, those that end by themselves
	moved   []wire.Moved
}

// end ends the process, if there is one; the domain's mu is held.
func (x *processCall) end() {
	if x == nil {
		return
	}
	x.cancel()
	if x.running != nil {
		x.running.Kill()
	}
}

// processPool is what processes are started by. It is made when one is wanted.
func (p *Pool) processPool() (*process.Pool, error) {
	p.processing.Lock()
	defer p.processing.Unlock()
	if p.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if p.processes == nil {
		made, err := process.New(process.Options{Spawner: p.spawner, Python: p.o.Python, Idle: p.o.Idle, Tiered: expressWeight, Keep: p.o.Keep, Log: p.o.Said})
		if err != nil {
			return nil, err
		}
		p.processes = made
	}
	return p.processes, nil
}

func (p *Pool) closeProcesses() error {
	p.processing.Lock()
	defer p.processing.Unlock()
	if p.processes == nil {
		return nil
	}
	return p.processes.Close()
}

// Degraded lists what is weaker on this machine than weft wants, in words.
func (p *Pool) Degraded() []string {
	p.processing.Lock()
	defer p.processing.Unlock()
	if p.processes != nil { // it says the same and more
		return p.processes.Degraded()
	}
	return p.spawner.Degraded()
}

// PrepareProcess starts the fork server of a function that is a process, or says
// why that cannot be had, with an error of kind *flow.Failure.
func (p *Pool) PrepareProcess(ctx context.Context, f *Function) error {
	processes, err := p.processPool()
	if err != nil {
		return err
	}
	return processes.Prepare(ctx, f.Process)
}

// prepareProcesses starts the fork servers of functions that are processes, ahead
// of need: what is wrong with one shows when it is called.
func (p *Pool) prepareProcesses(functions []*Function) {
	for _, f := range functions {
		if f.Process != nil {
			p.work.Go(func() { _ = p.PrepareProcess(p.ctx, f) })
		}
	}
}

// DropProcess says that a function is not served any longer: its fork server ends
// when its calls have.
func (p *Pool) DropProcess(f *Function) {
	p.processing.Lock()
	defer p.processing.Unlock()
	if p.processes != nil {
		p.processes.Drop(f.Process.Version)
	}
}

// startProcess begins a call of a function that is a process; d.mu is held.
func (d *Domain) startProcess(k *call) {
	ctx, cancel := context.WithCancel(d.ctx)
	k.process = &processCall{cancel: cancel, name: fmt.Sprintf("%s-%d", k.Function.Process.Runtime, d.pool.serial.Add(1))}
	k.begun = time.Now()
	if k.single { // in a domain of its own
		k.attempt = buffer.Attempt{Path: k.Path, Number: k.Attempt}
	}
	d.work.Go(func() {
		defer cancel()
		p, err := d.fork(ctx, k)
		if err != nil {
			var f *flow.Failure
			if !errors.As(err, &f) {
				f = &flow.Failure{Kind: KindRefused, Message: fmt.Sprintf("function %s: %v", k.Function.Name, err)}
			}
			d.processEnded(k, process.Result{Failure: f})
			return
		}
		d.processEnded(k, p.Wait())
	})
}

// fork starts a call's process.
func (d *Domain) fork(ctx context.Context, k *call) (*process.Process, error) {
	processes, err := d.pool.processPool()
	if err != nil {
		return nil, err
	}
	c := process.Call{
		Function: k.Function.Process, Input: k.Input, Raw: k.body != nil || k.Stdin != "", Stream: k.stdout, Slots: &processSlots{d: d, k: k},
		Run: d.o.Run, Step: k.Step, Index: k.Index, Attempt: k.Attempt, Key: k.Key, Trace: k.Trace, Time: k.Time,
		HTTP: k.request, Respond: k.respond, Avoid: d.pool.workers.long,
	}
	if k.single {
		c.Run, c.Step = k.Step, k.Function.Name
	}
	if k.Index >= 0 {
		c.Env = append(c.Env, "WEFT_INDEX="+strconv.Itoa(k.Index))
	}
	switch {
	case k.log != nil:
		c.Log = func(line string) { k.log([]byte(line + "\n")) }
	case d.o.Log != nil:
		c.Log = func(line string) { d.o.Log(k.ID, []byte(line+"\n")) }
	}
	d.mu.Lock()
	err = d.share() // slots are decided here from now on
	if err == nil && k.stopped {
		err = context.Canceled
	}
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if c.Stdin, err = d.processInput(k, &c); err != nil {
		return nil, fmt.Errorf("open standard input: %w", err)
	}
	if c.Stdin != nil {
		defer c.Stdin.Close()
	}
	p, err := processes.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	if w := p.Worker(); w != nil {
		k.CPU.Enter(d.pool.workers.sandbox(d.pool, w), 0)
	} else {
		k.CPU.Own(func() (scheduler.Process, bool) { return placed(p) })
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k.process.running = p
	if k.stopped || d.finished {
		p.Kill()
	}
	return p, nil
}

// placed is where a process is, for the scheduler.
func placed(p *process.Process) (scheduler.Process, bool) {
	at, ok := p.Place()
	return scheduler.Process{PID: at.PID, Init: at.Init, Group: at.Group, Freezer: at.Freezer, Tiered: at.Tiered == expressWeight}, ok
}

// processInput opens the standard input of a process, if it is in memory that
// others have: as it is when it fills its segment, else through a pipe.
func (d *Domain) processInput(k *call, c *process.Call) (*os.File, error) {
	body, size := k.body, k.size
	if k.Stdin != "" {
		v, err := (&processSlots{d: d, k: k}).read(k.Stdin, 0, false)
		if err != nil {
			return nil, err
		}
		if in, ok := v.Holder.(*buffer.Inline); ok {
			c.Input = in.Bytes
			return nil, nil
		}
		body, size = v.Holder.(*buffer.Segment), v.Len
		if err := body.Seal(); err != nil {
			return nil, err
		}
	}
	if body == nil {
		return nil, nil
	}
	if size == body.Capacity() {
		return os.Open("/proc/self/fd/" + strconv.Itoa(body.FD()))
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	body.Retain()
	d.work.Go(func() {
		defer body.Release()
		defer w.Close()
		feed(int(w.Fd()), body.FD(), size)
	})
	return r, nil
}

// feed moves the first n bytes of a memory file to a pipe, as pages, until nobody
// reads any more.
func feed(pipe, file int, n int64) {
	for at := int64(0); at < n; {
		moved, err := unix.Splice(file, &at, pipe, nil, int(min(n-at, 1<<20)), 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || moved == 0 {
			return
		}
	}
}

// processEnded records the end of a process and tells it.
func (d *Domain) processEnded(k *call, pr process.Result) {
	x := k.process
	r := Result{Call: k.ID, Code: uint32(pr.Code), Host: x.name, Begun: k.begun, Wall: pr.Wall, CPU: pr.CPU, Memory: pr.Memory, Failure: pr.Failure}
	output, err := d.processOutput(&pr)
	if err != nil && r.Failure == nil {
		r.Failure = &flow.Failure{Kind: KindOutput, Message: fmt.Sprintf("function %s: %v", k.Function.Name, err)}
	}
	retire := k.CPU.End(pr.CPU, pr.Failure != nil)
	d.mu.Lock()
	if retire && x.running != nil { // the kernel keeps it where long calls are
		x.running.Retire()
	}
	k.running = false
	d.awaits(k, "")
	if output.Holder != nil {
		d.publishOutput(k, &r, output, pr.Output)
	}
	for _, id := range x.needs {
		if s := d.segments[id]; s != nil && s.slots == 0 {
			d.discard(id)
		}
	}
	for _, s := range x.own {
		s.Release()
	}
	x.own, r.Moved = nil, x.moved
	if k.deadlock != nil && r.Failure != nil {
		r.Failure = &flow.Failure{Kind: KindDeadlock, Message: k.deadlock.Error(), Permanent: true}
	}
	if f := r.Failure; f != nil && f.Kind == flow.KindTimeout {
		f.Message = fmt.Sprintf("function %s took longer than %v", k.Function.Name, k.Time)
	}
	if (k.stopped || k.single) && d.calls[k.ID] == k {
		d.forget(k)
	}
	if d.o.Host != nil && !d.finished && x.running != nil {
		d.o.Host(x.name, k.begun, time.Now())
	}
	silent := k.stopped || d.finished
	d.mu.Unlock()
	if k.stdout != nil {
		k.stdout.Close()
	}
	if silent {
		if r.spilled != nil {
			r.spilled.Release()
		}
		return
	}
	d.end(k, r)
}

// processOutput makes the output of a process that succeeded a value.
func (d *Domain) processOutput(pr *process.Result) (buffer.Value, error) {
	if pr.File == nil {
		return buffer.Value{Holder: &buffer.Inline{Bytes: pr.Output}, Len: int64(len(pr.Output))}, nil
	}
	if pr.Failure != nil {
		pr.File.Close()
		return buffer.Value{}, nil
	}
	s, err := pr.Segment(d.pool.supply.Number())
	if err != nil {
		return buffer.Value{}, err
	}
	return buffer.Value{Holder: s, Len: pr.Size}, nil
}

// publishOutput enters the output of a process into its result, and a long one or
// one of bytes into the run's table; d.mu is held.
func (d *Domain) publishOutput(k *call, r *Result, v buffer.Value, short []byte) {
	long, _ := v.Holder.(*buffer.Segment)
	switch {
	case r.Failure != nil || k.stdout != nil:
		drop(v.Holder)
		return
	case long == nil && (k.single || k.Function.Output != wire.OutputBytes):
		r.Output = short
		return
	case k.single:
		r.spilled, r.Spilled = long, &wire.Value{Len: v.Len}
		return
	}
	r.Spilled = &wire.Value{Len: v.Len}
	if err := d.table.Put(k.attempt, "stdout", v); err != nil {
		k.conflict = err // Commit says so
		drop(v.Holder)
		return
	}
	if long != nil {
		d.supplied += long.Capacity()
		d.segments[long.ID()] = &segment{Segment: long, slots: 1, dropped: true}
	}
	k.recorded = append(k.recorded, slotOf(k.attempt, "stdout", v))
}
