package engine

import "sync"

// mailbox runs what is posted to it one at a time, in order, apart from who
// posts. After a turn, which is as much as has been posted meanwhile, it calls
// settle: that is what lets many events of a run share one append.
type mailbox struct {
	spawn  func(f func())
	settle func()

	mu    sync.Mutex
	queue []func() // guarded by mu
	busy  bool     // somebody is at it; guarded by mu
	spare []func() // the other queue; owned by whoever is at it
}

func (b *mailbox) post(f func()) {
	b.mu.Lock()
	b.queue = append(b.queue, f)
	idle := !b.busy
	b.busy = true
	b.mu.Unlock()
	if idle {
		b.spawn(b.drain)
	}
}

func (b *mailbox) drain() {
	for {
		b.mu.Lock()
		if len(b.queue) == 0 {
			b.busy = false
			b.mu.Unlock()
			return
		}
		b.queue, b.spare = b.spare[:0], b.queue
		b.mu.Unlock()
		for i, f := range b.spare {
			b.spare[i] = nil
			f()
		}
		b.settle()
	}
}
