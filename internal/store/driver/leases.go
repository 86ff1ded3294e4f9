package driver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// Leases are leases in memory. They are safe for concurrent use.
type Leases struct {
	now func() time.Time

	mu   sync.Mutex
	last uint64               // guarded by mu, as all below
	ends map[uint64]time.Time // of those that were not seen to have run out
}

// NewLeases makes leases that follow a clock.
func NewLeases(now func() time.Time) *Leases {
	return &Leases{now: now, ends: map[uint64]time.Time{}}
}

// Grant makes a lease.
func (l *Leases) Grant(ttl time.Duration) store.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	l.ends[l.last] = l.now().Add(ttl)
	return &lease{l, l.last, ttl}
}

// Alive fails with store.ErrLease if a lease has run out.
func (l *Leases) Alive(id uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.alive(id)
}

func (l *Leases) alive(id uint64) error {
	if end, ok := l.ends[id]; !ok || !l.now().Before(end) {
		delete(l.ends, id)
		return fmt.Errorf("lease %d: %w", id, store.ErrLease)
	}
	return nil
}

// Clear ends all leases.
func (l *Leases) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.ends)
}

type lease struct {
	all *Leases
	id  uint64
	ttl time.Duration
}

func (l *lease) ID() uint64 { return l.id }

func (l *lease) KeepAlive(context.Context) error {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	if err := l.all.alive(l.id); err != nil {
		return err
	}
	l.all.ends[l.id] = l.all.now().Add(l.ttl)
	return nil
}

func (l *lease) Revoke(context.Context) error {
	l.all.mu.Lock()
	defer l.all.mu.Unlock()
	delete(l.all.ends, l.id)
	return nil
}
