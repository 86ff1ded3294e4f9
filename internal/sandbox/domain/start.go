package domain

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// Start begins a call. Its end, whatever it is, is told to Options.Done.
func (d *Domain) Start(c Call) {
	d.begin(&call{Call: c, attempt: buffer.Attempt{Path: c.Path, Number: c.Attempt}, running: true})
}

// begin sends a call to its host, or has it wait for one.
func (d *Domain) begin(k *call) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.single {
		d.last++
		k.ID = d.last
	}
	d.calls[k.ID] = k
	if d.waiters > 0 {
		k.owes(true)
	}
	if k.Function.Process != nil {
		d.startProcess(k)
		return
	}
	if k.Alone {
		d.work.Go(func() { d.startAlone(k) })
		return
	}
	k.long = k.CPU.Apart()
	if d.main != nil && len(d.queue) == 0 {
		h := d.choose(k)
		if h == nil {
			d.part(k)
			return
		}
		if h != d.main && d.try(h, k) {
			return
		}
	}
	d.wait(k)
}

// try sends a call to a host, and reports whether that was not gone; d.mu is held.
func (d *Domain) try(h *host, k *call) bool {
	err := d.send(h, k)
	if err == nil {
		err = h.conn.Flush()
	}
	if gone(err) {
		h.unsend(k)
		return false
	}
	if err != nil {
		d.work.Go(func() { d.refuse(k, err) }) // Done may wait for who called Start
	}
	return true
}

// wait sends a call to the main host as soon as there is one; d.mu is held.
func (d *Domain) wait(k *call) {
	if d.main != nil && len(d.queue) == 0 && d.try(d.main, k) {
		return
	}
	if d.queue = append(d.queue, k); !d.seeking {
		d.seeking = true
		d.work.Go(d.seek)
	}
}

// seek gets the domain its main host, the first or the successor of one that is
// lost, and sends it the calls that wait for it.
func (d *Domain) seek() {
	for {
		d.mu.Lock()
		old := d.main
		d.mu.Unlock()
		if old != nil { // its end has to be noticed first
			<-old.over
		}
		h, err := d.pool.take(d.ctx, d.o.Version, false, d.o.Folders)
		d.mu.Lock()
		if err == nil && d.finished {
			err = context.Canceled
		} else if err == nil {
			if err = d.join(h, false); err == nil {
				d.main = h
			}
		}
		if err != nil && h != nil {
			d.work.Go(func() { d.pool.give(h, "") })
		}
		queue := d.queue
		d.queue = nil
		if err == nil {
			var apart []*call
			queue, apart = d.split(queue)
			for _, k := range apart {
				d.part(k)
			}
		}
		if gone(d.sendAll(h, queue, err)) {
			for _, k := range queue {
				h.unsend(k)
			}
			d.queue = append(queue, d.queue...)
		}
		more := len(d.queue) > 0
		d.seeking = more
		var likely []*Function
		if !more && err == nil && !d.finished {
			likely = d.pool.enlist(d)
		}
		d.mu.Unlock()
		if !more {
			d.prepare(likely)
			return
		}
	}
}

// sendAll sends calls to a host, or refuses them when there is none because of
// err; d.mu is held. When the host is gone, none of them is there.
func (d *Domain) sendAll(h *host, calls []*call, err error) error {
	for _, k := range calls {
		if k.stopped {
			continue
		}
		why := err
		if err == nil {
			why = d.send(h, k)
		}
		if gone(why) && err == nil {
			return why
		}
		if why != nil {
			d.work.Go(func() { d.refuse(k, why) })
		}
	}
	if err != nil {
		return nil
	}
	return h.conn.Flush()
}

// startAlone gets a host for a call alone.
func (d *Domain) startAlone(k *call) {
	for {
		h, err := d.pool.take(d.ctx, d.o.Version, true, d.o.Folders)
		if err == nil {
			d.mu.Lock()
			switch {
			case d.finished || k.stopped:
				err = context.Canceled
			default:
				err = d.join(h, true)
			}
			if err != nil {
				d.work.Go(func() { d.pool.give(h, "") })
			} else if err = d.send(h, k); err == nil {
				err = h.conn.Flush()
			}
			if gone(err) {
				h.unsend(k)
			}
			d.mu.Unlock()
		}
		if !gone(err) {
			if err != nil {
				d.refuse(k, err)
			}
			return
		}
	}
}

// unsend takes a call back that was sent to a host that was gone; its domain's mu is held.
func (h *host) unsend(k *call) {
	k.CPU.Leave()
	delete(h.calls, k.ID)
}

// gone reports whether sending failed because the host had ended by itself: its
// calls are to be started in another one.
func gone(err error) bool {
	return errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) || errors.Is(err, wire.ErrStuck)
}

// join makes a host one of the domain's; d.mu is held. From the second one on
// slots are decided here: the first host is told, and has answered on return.
// One that is to run a single call will not be the only one for long.
func (d *Domain) join(h *host, alone bool) error {
	if len(d.hosts) > 0 || d.published || alone {
		d.shared = true
	}
	if d.shared {
		if err := d.share(); err != nil {
			return err
		}
	}
	h.asks = d.shared
	var fds []int
	if d.scratch != nil {
		fds = append(fds, int(d.scratch.Fd()))
	}
	assign := &wire.Assign{Run: d.o.Run, Quota: d.o.Quota, Eager: d.o.Eager, PassFile: d.scratch != nil, Shared: d.shared}
	var err error
	if len(fds) > 0 {
		err = h.conn.Send(assign, fds...)
	} else {
		err = h.conn.Post(assign) // a call follows
	}
	if err != nil {
		return err
	}
	d.hosts[h] = time.Now()
	d.work.Go(func() { d.read(h) })
	return nil
}

// share makes the main host, if there is one, ask for slots from now on. It has
// answered, or is gone, on return; d.mu is held, but not meanwhile.
func (d *Domain) share() error {
	d.shared = true
	if d.main == nil || d.main.asks {
		return nil
	}
	defer d.main.sandbox.Awake()() // or it would not answer
	if d.sharing == nil {
		d.sharing = make(chan struct{})
		if d.main.conn.Send(&wire.Share{}) != nil {
			return nil // its reader will say so
		}
	}
	answered, gone := d.sharing, d.main.over
	d.mu.Unlock()
	select {
	case <-answered:
	case <-gone:
	}
	d.mu.Lock()
	if d.finished {
		return context.Canceled
	}
	return nil
}

// send gives a call to a host, with the next Flush; d.mu is held.
func (d *Domain) send(h *host, k *call) error {
	id, err := d.pool.define(h, k.Function, d.listen)
	if err != nil {
		return err
	}
	k.CPU.Enter(h.sandbox, k.ID)
	sent := false
	defer func() {
		if !sent {
			k.CPU.Leave()
		}
	}()
	m := &wire.Start{
		Call: k.ID, Function: id, Path: k.Path, Step: k.Step, Index: int64(k.Index),
		Attempt: uint64(k.Attempt), Key: k.Key, Trace: k.Trace, Input: k.Input, Stdin: k.Stdin, Single: k.single, Stream: k.stdout != nil,
	}
	var fds []int
	for _, f := range k.Streams {
		fds = append(fds, int(f.Fd()))
	}
	if k.body != nil {
		m.Long = k.size
		fds = append(fds, k.body.FD())
	} else if len(k.Input) > wire.InlineMax {
		fd, err := memfile("input", k.Input)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		m.Input, m.Long = nil, int64(len(k.Input))
		fds = append(fds, fd)
	}
	if k.stdout != nil {
		fds = append(fds, int(k.stdout.Fd()))
	}
	if len(fds) > 0 {
		err = h.conn.Send(m, fds...)
	} else {
		err = h.conn.Post(m)
	}
	if err != nil {
		return err
	}
	k.host, k.begun, sent = h, time.Now(), true
	h.calls[k.ID] = k
	return nil
}

// listen opens a port once for all hosts of the run; d.mu is held.
func (d *Domain) listen(port int) (*os.File, error) {
	if l := d.ports[port]; l != nil {
		return l, nil
	}
	l, err := sandbox.Listen(d.ctx, port)
	if err == nil {
		d.ports[port] = l
	}
	return l, err
}
