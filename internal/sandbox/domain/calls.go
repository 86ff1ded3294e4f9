package domain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// end tells how a call has ended.
func (d *Domain) end(k *call, r Result) {
	if k.single {
		k.result = r
		k.over <- struct{}{}
		return
	}
	d.o.Done(r)
}

// refuse ends a call that never reached a host.
func (d *Domain) refuse(k *call, err error) {
	k.CPU.End(0, true)
	d.mu.Lock()
	k.running = false
	stopped := k.stopped
	d.mu.Unlock()
	if !stopped {
		d.end(k, Result{Call: k.ID, Failure: &flow.Failure{Kind: KindRefused, Message: err.Error()}})
	}
}

// read serves one host until it is idle, lost, or the domain has ended.
func (d *Domain) read(h *host) {
	defer close(h.over)
	for {
		m, err := h.receive()
		if err != nil {
			d.lost(h, err)
			return
		}
		if _, ok := m.(*wire.Idle); ok && h.resetting.Load() {
			h.idle <- struct{}{}
			return
		}
		if l, ok := m.(*wire.Log); ok {
			d.log(h, l)
			continue
		}
		if err := d.handle(h, m); err != nil {
			d.lost(h, err)
			return
		}
		if k := h.ended; k != nil {
			h.ended = nil
			d.end(k, k.result)
		}
	}
}

// log passes on what a function wrote, without the lock: who listens may be
// slow, and then this host has to wait.
func (d *Domain) log(h *host, m *wire.Log) {
	d.mu.Lock()
	k := h.calls[m.Call]
	d.mu.Unlock()
	switch {
	case k == nil:
	case k.log != nil:
		k.log(m.Text)
	case d.o.Log != nil:
		d.o.Log(m.Call, m.Text)
	}
}

// handle carries out one message of a host. An error is a broken protocol: the
// host is not trusted any longer.
func (d *Domain) handle(h *host, m wire.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	running := func(id uint64) (*call, error) {
		if k := h.calls[id]; k != nil {
			return k, nil
		}
		return nil, fmt.Errorf("%T names call %d, which does not run there", m, id)
	}
	if _, over := m.(*wire.Done); !over {
		h.conn.Flush() // what it waits for may be among that
	}
	switch m := m.(type) {
	case *wire.Need:
		return d.supply(h, m.Bytes)
	case *wire.Dropped:
		d.drop(h, m.Segments)
	case *wire.Waiting:
		k, err := running(m.Call)
		if err != nil {
			return err
		}
		k.limited = m.Limited
		d.awaits(k, m.Name)
		d.stalled()
	case *wire.Resumed:
		k, err := running(m.Call)
		if err != nil {
			return err
		}
		d.awaits(k, "")
		if k.ask != nil {
			k.ask = nil
			d.table.Unwait(k.attempt)
		}
	case *wire.Exceeded:
		if k := h.calls[m.Call]; k != nil { // else it has just ended
			k.exceeded, h.closing = m, true // whoever else is there has done nothing
			h.process.Kill()
		}
	case *wire.Published:
		k, err := running(m.Call)
		if err != nil {
			return err
		}
		k.puts, k.takes = append(k.puts, m.Puts...), append(k.takes, m.Takes...)
		if len(k.puts) > slotsMax || len(k.takes) > slotsMax {
			return fmt.Errorf("call %s published or took more than %d slots", k.Path, slotsMax)
		}
	case *wire.Ask:
		k, err := running(m.Call)
		if err != nil {
			return err
		}
		return d.answer(h, k, m)
	case *wire.Shared:
		if h != d.main || d.sharing == nil || h.asks {
			return fmt.Errorf("unexpected message %T", m)
		}
		for _, o := range m.Open {
			k, err := running(o.Call)
			if err != nil {
				return err
			}
			if err := d.take(k, o.Takes); err != nil {
				return err
			}
		}
		h.asks = true
		close(d.sharing)
	case *wire.Done:
		k, err := running(m.Call)
		if err != nil {
			return err
		}
		return d.done(h, k, m)
	default:
		return fmt.Errorf("unexpected message %T", m)
	}
	return nil
}

// awaits notes for which slot a call waits, "" for none, and tells the calls whether there is
// one that waits, for a slot that each of them may be the one to publish; d.mu is held.
func (d *Domain) awaits(k *call, name string) {
	before := k.waiting != ""
	k.waiting = name
	switch now := name != ""; {
	case now == before:
		return
	case now:
		d.waiters++
	default:
		d.waiters--
	}
	k.owes(k.waiting == "" && d.waiters > 0)
	if d.waiters > 1 || d.waiters == 1 && k.waiting == "" {
		return // the others know
	}
	for _, other := range d.calls {
		if other != k {
			other.owes(d.waiters > 0)
		}
	}
}

// owes tells a call whether another one waits for what it may publish; its domain's mu is held.
func (k *call) owes(on bool) {
	if k.running && !k.single {
		k.CPU.Owes(on)
	}
}

// done records the end of a call; d.mu is held. The host has broken the protocol
// when it fails, and the call is still one that runs there.
func (d *Domain) done(h *host, k *call, m *wire.Done) error {
	var spilled *buffer.Segment
	switch {
	case k.stopped || m.Status != wire.StatusOK:
	case !k.single:
		if err := d.record(h, k, m); err != nil {
			return err
		}
	case m.Spilled.Segment.ID != 0:
		v, err := d.value(h, m.Spilled)
		if err != nil {
			return err
		}
		spilled = v.Holder.(*buffer.Segment).Retain()
	}
	if !k.single {
		d.table.Unwait(k.attempt)
	}
	delete(h.calls, k.ID)
	k.running, k.ask = false, nil
	d.awaits(k, "")
	if k.CPU.End(time.Duration(m.CPU), k.stopped || m.Status != wire.StatusOK) {
		h.spent = true // the kernel keeps it where long calls are
	}
	r := Result{
		Call: k.ID, Code: m.Code, Output: m.Output, Host: h.name, Begun: k.begun,
		Wall: time.Duration(m.Wall), CPU: time.Duration(m.CPU), Memory: m.Memory, Loaded: m.Loaded, Moved: m.Moved,
		spilled: spilled,
	}
	if k.single {
		delete(d.calls, k.ID)
	}
	if k.stopped {
		d.forget(k)
		d.work.Go(func() { d.leave(h) })
		return nil
	}
	if k.unread != nil {
		r.Failure = &flow.Failure{Kind: KindRefused, Message: fmt.Sprintf("function %s: %v", k.Function.Name, k.unread), Permanent: true}
	} else if k.deadlock != nil && m.Status != wire.StatusOK {
		r.Failure = &flow.Failure{Kind: KindDeadlock, Message: k.deadlock.Error(), Permanent: true}
	} else if m.Status != wire.StatusOK {
		r.Failure = failureOf(k, m)
	}
	if m.Spilled.Segment.ID != 0 {
		r.Spilled = &m.Spilled
	}
	if k.Alone || h.apart && h.spent {
		d.work.Go(func() { d.leave(h) })
	}
	if m.Status == wire.StatusTrap && len(m.Frames) > 0 {
		d.work.Go(func() {
			r.Failure.Message += trace(m.Frames, d.pool.locate(d.ctx, k.Function.Image, m.Frames))
			d.end(k, r)
		})
		return nil
	}
	k.result, h.ended = r, k // told by the reader, without the lock and without another goroutine
	return nil
}

func failureOf(k *call, m *wire.Done) *flow.Failure {
	switch m.Status {
	case wire.StatusExit:
		return &flow.Failure{Kind: KindExit, Message: fmt.Sprintf("function %s exited with status %d", k.Function.Name, m.Code)}
	case wire.StatusTrap:
		return &flow.Failure{Kind: KindTrap, Message: fmt.Sprintf("function %s trapped: %s", k.Function.Name, m.Message)}
	case wire.StatusLimit:
		return &flow.Failure{Kind: KindLimit, Message: fmt.Sprintf("function %s was ended: %s", k.Function.Name, m.Message)}
	case wire.StatusOutput:
		return &flow.Failure{Kind: KindOutput, Message: fmt.Sprintf("function %s: %s", k.Function.Name, m.Message), Permanent: true}
	default:
		return &flow.Failure{Kind: KindRefused, Message: fmt.Sprintf("function %s: %s", k.Function.Name, m.Message)}
	}
}

// trace writes the stack of a trap, a line a frame.
func trace(frames []wire.Frame, lines []string) string {
	var b strings.Builder
	for i, f := range frames {
		b.WriteString("\n    at " + f.Function)
		if lines[i] != "" {
			b.WriteString(" (" + lines[i] + ")")
		}
	}
	return b.String()
}

// lost ends the calls of a host that is gone: who broke a limit has failed and
// runs alone next time, its siblings are run again without using their budget.
func (d *Domain) lost(h *host, err error) {
	exit, why := h.whyEnded(err)
	h.sandbox.Close()
	h.conn.Close()
	h.stderr.close()
	d.pool.ended(h)
	d.mu.Lock()
	d.served(h)
	delete(d.hosts, h)
	if d.main == h {
		d.main = nil
	}
	for id, s := range d.segments { // nobody will use again what it kept
		if s.host == h {
			d.dropOne(id, s)
		}
	}
	var ended []*call
	for _, id := range slices.Sorted(maps.Keys(h.calls)) {
		k := h.calls[id]
		k.running, k.ask = false, nil
		d.awaits(k, "")
		k.CPU.End(0, true)
		d.forget(k)
		if k.stopped || d.finished {
			continue
		}
		f := &flow.Failure{Kind: KindLost, Message: why.Error(), Free: true}
		switch {
		case k.exceeded != nil:
			f = &flow.Failure{Kind: KindLimit, Message: fmt.Sprintf("function %s was ended: %s", k.Function.Name, k.exceeded.Text), Alone: true}
		case exit.Reason == sandbox.ReasonMemory && len(h.calls) == 1:
			f = &flow.Failure{Kind: KindLimit, Message: fmt.Sprintf("function %s was ended: its domain host was out of memory", k.Function.Name), Alone: true}
		case exit.Reason == sandbox.ReasonMemory:
			f.Alone = true // which one it was shows when each runs alone
		case exit.Reason == sandbox.ReasonSignal && exit.Signal == unix.SIGKILL:
			f.Alone = true // no function can do that, unless by using up the machine's memory
		case len(h.calls) == 1 && !h.closing:
			f.Free, f.Alone = false, true
		}
		k.result = Result{Call: id, Failure: f, Host: h.name, Begun: k.begun, Wall: time.Since(k.begun)}
		ended = append(ended, k)
	}
	clear(h.calls)
	d.mu.Unlock()
	for _, k := range ended {
		d.end(k, k.result)
	}
}

// Stop ends a call whose result does not matter any longer. One that waits is
// interrupted; one that computes takes its host with it.
func (d *Domain) Stop(id uint64) { d.stop(id, graceStop) }

// stop is Stop for a call that may go on for so long.
func (d *Domain) stop(id uint64, grace time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.calls[id]
	if k == nil || k.stopped {
		return
	}
	k.stopped = true
	if k.process != nil && k.running {
		k.process.end()
		return
	}
	if !k.running || k.host == nil {
		d.forget(k)
		return
	}
	h := k.host
	h.conn.Send(&wire.Stop{Call: id, Errno: errnoCanceled})
	over := h.over
	d.work.Go(func() {
		select {
		case <-time.After(grace):
		case <-over:
		case <-d.ctx.Done():
		}
		d.mu.Lock()
		still := !d.finished && h.calls[id] != nil // else the host may be another run's
		if still {
			h.closing = true
		}
		d.mu.Unlock()
		if still {
			h.process.Kill()
		}
	})
}

// leave ends a host that served one call alone, and one that is not to serve another one.
func (d *Domain) leave(h *host) {
	d.mu.Lock()
	end := h != d.main && len(h.calls) == 0 && (!h.apart || h.spent)
	if end {
		h.closing = true
	}
	d.mu.Unlock()
	if end {
		h.process.Kill()
	}
}
