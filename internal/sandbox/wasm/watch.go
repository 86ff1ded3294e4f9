package wasm

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-run/weft/internal/buffer"
	"github.com/weft-run/weft/internal/sandbox/wire"
)

// watchEvery is how often running calls are measured. A call can overrun its
// CPU limit by about that.
const watchEvery = 10 * time.Millisecond

// leadEvery is how often the watcher looks whether the leader is held up by the
// call that it carries out itself, which was thought to be short.
const leadEvery = 2 * time.Millisecond

// memoryEvery is every how many measurements memory is looked at too, which
// walks page tables.
const memoryEvery = 5

// watchIdle is how many measurements without a call the watcher stays for.
const watchIdle = 3

// watch starts the watcher unless it runs; d.mu is held. It ends soon after the
// last call, so an idle host has no timer.
func (d *domain) watch() {
	if !d.watched {
		d.watched = true
		d.watcher.Go(d.watchCalls)
	}
}

func (d *domain) watchCalls() {
	last := time.Now()
	for n, idle := 0, 0; idle < watchIdle; {
		every := watchEvery
		if d.host.inside.Load() != nil {
			every = leadEvery
		}
		select {
		case <-time.After(every):
		case <-d.over:
			return
		}
		if c := d.host.inside.Load(); c != nil && time.Since(c.begun) > leadEvery/2 {
			d.host.follow(c)
		}
		if time.Since(last) < watchEvery {
			continue
		}
		last = time.Now()
		n++
		idle++
		var over []*wire.Exceeded
		d.mu.Lock()
		for _, c := range d.running {
			idle = 0
			if x := c.measure(n%memoryEvery == 0); x != nil {
				over = append(over, x)
			}
		}
		if idle == watchIdle {
			d.watched = false
		}
		d.mu.Unlock()
		for _, x := range over {
			d.host.conn.Send(x)
		}
	}
}

// measure tells once that a call broke a limit which only the end of this
// process can enforce. d.mu is held.
func (c *call) measure(memory bool) *wire.Exceeded {
	if c.exceeded {
		return nil
	}
	x := &wire.Exceeded{Call: c.start.Call}
	// clock_getcpuclockid(3): the CPU-time clock of a thread of this process.
	clock := ^int32(c.thread)<<3 | 6
	var used unix.Timespec
	if c.fn.CPU > 0 && unix.ClockGettime(clock, &used) == nil && used.Nano()-c.cpu > c.fn.CPU {
		x.Limit, x.Text = "cpu", fmt.Sprintf("it used more than %v of CPU time", time.Duration(c.fn.CPU))
	} else if memory && c.sandbox != nil && c.sandbox.credit.Load() > 0 {
		x.Limit, x.Text = "memory", c.overMemory(min(c.fn.Memory+c.sandbox.credit.Load(), 4<<30))
	}
	if x.Text == "" {
		return nil
	}
	c.exceeded = true
	return x
}

// overMemory says how much of the first length bytes of linear memory is the
// function's own, if that is more than it may have. Linear memory never moves:
// the engine's pool reserves 4 GiB a slot. Views count as pages of files until
// they are written to.
func (c *call) overMemory(length int64) string {
	if length <= c.fn.Memory || c.host.pagemap < 0 {
		return ""
	}
	own, err := buffer.Dirtied(c.host.pagemap, c.base, length)
	if err != nil || own <= c.fn.Memory {
		return ""
	}
	return fmt.Sprintf("it uses %d MiB of its own memory, pages that it wrote to in views included; the limit is %d MiB", own>>20, c.fn.Memory>>20)
}

// settle measures at the moments at which own memory is about to vanish, the
// release of a view and the end of the call: the watcher may not have seen it.
func (c *call) settle() {
	if c.over == "" && len(c.views) > 0 {
		c.over = c.overMemory(int64(len(c.sandbox.inst.Memory())))
	}
}
