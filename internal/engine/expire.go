package engine

import (
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// expireEvery is how often runs are looked for whose retention has ended.
const expireEvery = time.Minute

// expireBatch bounds the runs that are forgotten in one append.
const expireBatch = 100

// Expire forgets the runs whose retention has ended, now and from time to time,
// until the engine is closed: record, journal, key, buffers and logs.
func (e *Engine) Expire() { e.work(e.expire) }

// expire forgets some runs, and has the next ones looked for.
func (e *Engine) expire() {
	e.expiring.Lock()
	gone, b := e.expired()
	if b.Len() == 0 {
		e.expiring.Unlock()
		e.o.World.After(expireEvery, e.Expire)
		return
	}
	v, err := e.o.Store.Append(e.ctx, b)
	e.expiring.Unlock()
	if err != nil {
		e.breakDown(fmt.Errorf("forget old runs: %w", err))
		return
	}
	e.o.Store.Notify(v, func(err error) {
		if err != nil {
			e.breakDown(fmt.Errorf("forget old runs: %w", err))
			return
		}
		e.work(func() {
			for _, id := range gone {
				e.o.Blobs.Drop(id) // what stays is swept at the next start
				if e.o.Logs != nil {
					e.o.Logs.Drop(id)
				}
			}
			e.expire()
		})
	})
}

// expired finds runs to be forgotten, and what that does to the store.
func (e *Engine) expired() (gone []string, b *store.Batch) {
	now := e.o.World.Now()
	b = &store.Batch{}
	if e.ctx.Err() != nil {
		return nil, b
	}
	s := e.o.Store.Snapshot()
	defer s.Close()
	err := s.Scan([]byte(expirePrefix), nil, func(item store.Item) bool {
		at, id, err := expireTime(item.Key)
		if err != nil || at.After(now) || len(gone) == expireBatch {
			return false
		}
		if e.live(id) != nil { // it is being retried, which takes this key away
			return true
		}
		b.Delete(append([]byte(nil), item.Key...))
		if rec, err := loadRecord(s, id); err == nil && rec.Status.Ended() {
			b.Delete(runKey(id))
			b.DeletePrefix(journalKeys(id))
			if rec.Key != "" {
				b.Delete(idempotencyKey(rec.App, rec.Workflow, rec.Key))
			}
			gone = append(gone, id)
		}
		return true
	})
	if err != nil {
		return nil, &store.Batch{}
	}
	return gone, b
}
