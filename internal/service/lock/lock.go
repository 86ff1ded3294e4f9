// Package lock decides who may have which key: shared or exclusive locks of
// transactions, without deadlocks. It is pure: it answers with who is granted, who
// waits and who has to begin anew, and the caller does what follows from that.
//
//	t := lock.NewTable()
//	switch t.Acquire(owner, "account/7", lock.Exclusive) {
//	case lock.Granted: …
//	case lock.Waiting: …  // Release of another returns the owner as granted
//	case lock.Dies:    …  // release everything, begin anew with the same age
//	}
//
// The rule is wait-die (Rosenkrantz, Stearns and Lewis, System Level Concurrency
// Control for Distributed Database Systems, TODS 1978, section 4), judged more
// strictly than there: an owner may wait only if it is older than every holder of
// the key and every waiter ahead of it, whatever their modes are. An owner that
// holds no lock yet may always wait. With a first come, first served queue it is
// not enough to look at holders: who waits behind a waiter waits for it too.
//
// Why there is no deadlock. Take a cycle of owners, each waiting for the next. An
// owner without a lock is in it only because the one before it waits behind it in
// a queue; that one was judged against all that are ahead of it, so it waits for
// the next one of the cycle as well, and the cycle without the owner remains. In
// what is left each one held a lock when it began to wait, and so is older than
// the next: there is no such cycle. An upgrade goes to the front: it is judged
// against all holders, and those it passes were judged against it, since it
// already was a holder.
//
// Why there is no starvation. An owner keeps its age when it begins anew, so that
// in the end it is the oldest; the oldest never dies.
package lock

import (
	"cmp"
	"slices"
)

// Mode is what a lock is for.
type Mode uint8

// The modes.
const (
	Shared    Mode = 1 // for reading: any number of owners
	Exclusive Mode = 2 // for writing: one owner alone
	Scanning  Mode = 3 // any number of owners too, but not beside Shared ones
)

func (m Mode) String() string {
	return [...]string{"none", "shared", "exclusive", "scanning"}[m]
}

// with is the weakest mode that allows what two do.
func (m Mode) with(other Mode) Mode {
	switch {
	case m == 0 || m == other:
		return other
	case other == 0:
		return m
	}
	return Exclusive
}

// beside reports whether two owners can have the same key in these modes.
func (m Mode) beside(other Mode) bool { return m == other && m != Exclusive }

// Owner is who has locks: a transaction, or a call outside of one. Two live owners
// never have the same age.
type Owner struct {
	age   int64
	held  map[*key]Mode
	waits *key // nil: for nothing
}

// NewOwner makes an owner without locks. Its age, which it keeps when it begins anew, is the time of
// a transaction's first begin, in nanoseconds: the older one is less.
func NewOwner(age int64) *Owner { return &Owner{age: age, held: map[*key]Mode{}} }

// Locks is how many keys the owner has locked.
func (o *Owner) Locks() int { return len(o.held) }

// Waits returns the key that the owner waits for.
func (o *Owner) Waits() (name string, waiting bool) {
	if o.waits == nil {
		return "", false
	}
	return o.waits.name, true
}

// key is a key that somebody holds or waits for.
type key struct {
	name    string
	holders []*Owner // oldest first
	queue   []waiter // upgrades first, then as they came
}

// waiter is a place in a queue.
type waiter struct {
	owner *Owner
	mode  Mode
}

// Table is the locks of a node. Its methods are not for several goroutines at a
// time.
type Table struct {
	keys map[string]*key
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{keys: map[string]*key{}} }

// Outcome is what becomes of a wish.
type Outcome uint8

// The outcomes.
const (
	Granted Outcome = iota // the owner has the lock
	Waiting                // it waits, and is among those that a later Release returns
	Dies                   // it may not wait: release all its locks, and begin anew
)

func (o Outcome) String() string { return [...]string{"granted", "waiting", "dies"}[o] }

// Acquire asks for a key. A lock that the owner has already, in this mode or a
// stronger one, is granted; in another mode it becomes one that allows both. An owner that waits asks for nothing else.
func (t *Table) Acquire(o *Owner, name string, m Mode) Outcome {
	if o.waits != nil {
		panic("lock: an owner that waits asks for another key")
	}
	k := t.keys[name]
	if k == nil {
		k = &key{name: name}
		t.keys[name] = k
	}
	had := o.held[k]
	if m = had.with(m); had == m {
		return Granted
	}
	if had == 0 && len(k.queue) > 0 || !k.compatible(o, m) {
		if len(o.held) > 0 && !k.youngerThan(o, had != 0) {
			return Dies
		}
		k.enqueue(waiter{o, m}, had != 0)
		return Waiting
	}
	k.grant(o, m)
	return Granted
}

// Free reports whether Acquire would grant a key at once.
func (t *Table) Free(o *Owner, name string, m Mode) bool {
	k := t.keys[name]
	if k == nil {
		return true
	}
	had := o.held[k]
	m = had.with(m)
	return had == m || (had > 0 || len(k.queue) == 0) && k.compatible(o, m)
}

// compatible reports whether the holders, but for o itself, allow o this mode.
func (k *key) compatible(o *Owner, m Mode) bool {
	for _, h := range k.holders {
		if h != o && !m.beside(h.held[k]) {
			return false
		}
	}
	return true
}

// youngerThan reports whether all holders and waiters that o would wait for are
// younger than o. An upgrade waits for the holders, and for the upgrades ahead,
// which are holders.
func (k *key) youngerThan(o *Owner, upgrade bool) bool {
	for _, h := range k.holders {
		if h != o && h.age < o.age {
			return false
		}
	}
	return upgrade || !slices.ContainsFunc(k.queue, func(w waiter) bool { return w.owner.age < o.age })
}

// enqueue puts a waiter behind those that came earlier; upgrades are in front.
func (k *key) enqueue(w waiter, upgrade bool) {
	at := len(k.queue)
	if upgrade {
		at = 0
		for at < len(k.queue) && k.queue[at].owner.held[k] != 0 {
			at++
		}
	}
	k.queue = slices.Insert(k.queue, at, w)
	w.owner.waits = k
}

func (k *key) grant(o *Owner, m Mode) {
	if o.held[k] == 0 {
		at, _ := slices.BinarySearchFunc(k.holders, o, func(a, b *Owner) int { return cmp.Compare(a.age, b.age) })
		k.holders = slices.Insert(k.holders, at, o)
	}
	o.held[k] = m
}

// Release gives up all that an owner has and waits for, and returns those that
// have got what they waited for, in the order in which they were granted.
func (t *Table) Release(o *Owner) []*Owner {
	touched := make([]*key, 0, len(o.held)+1)
	if k := o.waits; k != nil {
		k.queue = slices.DeleteFunc(k.queue, func(w waiter) bool { return w.owner == o })
		o.waits = nil
		touched = append(touched, k)
	}
	for k := range o.held {
		k.holders = slices.DeleteFunc(k.holders, func(h *Owner) bool { return h == o })
		if !slices.Contains(touched, k) {
			touched = append(touched, k)
		}
	}
	clear(o.held)
	slices.SortFunc(touched, func(a, b *key) int { return cmp.Compare(a.name, b.name) })
	var granted []*Owner
	for _, k := range touched {
		granted = k.admit(granted)
		if len(k.holders) == 0 && len(k.queue) == 0 {
			delete(t.keys, k.name)
		}
	}
	return granted
}

// admit grants the front of the queue as far as it goes.
func (k *key) admit(granted []*Owner) []*Owner {
	for len(k.queue) > 0 && k.compatible(k.queue[0].owner, k.queue[0].mode) {
		w := k.queue[0]
		k.queue = slices.Delete(k.queue, 0, 1)
		k.grant(w.owner, w.mode)
		w.owner.waits = nil
		granted = append(granted, w.owner)
	}
	return granted
}

// Lock is what somebody has or wants, for inspection.
type Lock struct {
	Key     string
	Mode    Mode
	Owner   *Owner
	Waiting bool
}

// Locks lists what is held and waited for, by key; holders first, oldest first,
// then waiters in their order.
func (t *Table) Locks() []Lock {
	var list []Lock
	for _, k := range t.keys {
		for _, h := range k.holders {
			list = append(list, Lock{Key: k.name, Mode: h.held[k], Owner: h})
		}
		for _, w := range k.queue {
			list = append(list, Lock{Key: k.name, Mode: w.mode, Owner: w.owner, Waiting: true})
		}
	}
	slices.SortStableFunc(list, func(a, b Lock) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// Blockers returns whom an owner that waits waits for: the holders whose modes do
// not go with its own, and the waiters ahead. They are the edges of the waits-for
// graph.
func (t *Table) Blockers(o *Owner) []*Owner {
	k := o.waits
	if k == nil {
		return nil
	}
	at := slices.IndexFunc(k.queue, func(w waiter) bool { return w.owner == o })
	mode := k.queue[at].mode
	var list []*Owner
	for _, h := range k.holders {
		if h != o && !mode.beside(h.held[k]) {
			list = append(list, h)
		}
	}
	for _, w := range k.queue[:at] {
		if !slices.Contains(list, w.owner) {
			list = append(list, w.owner)
		}
	}
	return list
}
