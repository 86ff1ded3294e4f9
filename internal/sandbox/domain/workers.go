package domain

import (
	"sync"

	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/sandbox/process"
)

// workers are the processes that serve calls and stay, as the scheduler has them.
type workers struct {
	mu  sync.Mutex
	all map[*process.Process]*scheduler.Sandbox // guarded by mu; none of a worker that nobody schedules
}

// sandbox is that of a worker, until its end.
func (x *workers) sandbox(p *Pool, w *process.Process) *scheduler.Sandbox {
	if p.o.CPU == nil {
		return nil
	}
	p.processing.Lock() // held until all have ended by who closes the pool, which waits for work then
	defer p.processing.Unlock()
	select {
	case <-w.Done():
		return nil
	default:
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if b := x.all[w]; b != nil {
		return b
	}
	b := p.o.CPU.Worker(func() (scheduler.Process, bool) { return placed(w) })
	if x.all == nil {
		x.all = map[*process.Process]*scheduler.Sandbox{}
	}
	x.all[w] = b
	p.work.Go(func() {
		<-w.Done()
		x.mu.Lock()
		delete(x.all, w)
		x.mu.Unlock()
		b.Close()
	})
	return b
}

// long reports whether a long call runs in a worker: others had better be served elsewhere.
func (x *workers) long(w *process.Process) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.all[w].Long()
}
