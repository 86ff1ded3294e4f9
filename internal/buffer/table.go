package buffer

import (
	"fmt"
	"slices"
	"strings"
)

// Table holds the slots of a run: names, values, and which attempt did what.
//
// What an attempt puts is visible to itself at once and to others after Commit. What it takes is out of reach of
// others from then on; Commit makes that final, Withdraw gives it back. A name is published once in a run, also after
// it was taken: what a name means never depends on who came first.
//
// A holder is charged to the run's quota when the first of these comes to hold it, and refunded when the last lets
// go: an attempt (Alloc, Borrow, Take; until Release or its end), a slot (Put, Import; until a Take of it is
// committed, its Put is withdrawn, or Drop). Released then hands it to the caller.
//
// An attempt begins with its first operation. Table is not safe for concurrent use: its caller has the lock.
type Table struct {
	quota    int64
	charged  int64
	slots    map[Name]*slot     // committed; those taken for good stay, to be named in errors
	byLeaf   map[string][]*slot // committed and not taken for good
	attempts map[Attempt]*attempt
	waiters  map[string][]Attempt // by last part of what they wait for
	holders  map[Holder]held
	released []Holder
	spare    []*attempt // ended, to be used again
	closed   bool
}

type held struct {
	refs  int
	bytes int64
}

type slotState uint8

const (
	there slotState = iota
	taken           // by an open attempt
	gone            // for good
)

type slot struct {
	name  Name
	value Value
	state slotState
	by    Attempt // publisher; zero for an import
	taker Attempt // when taken or gone
}

// attempt is what an open attempt did.
type attempt struct {
	puts    []*slot
	pending map[Name]*slot // puts by name
	takes   []*slot
	holds   map[Holder]int
	private int64 // bytes charged for the attempt itself
	waits   Name
	waiting bool
}

// NewTable makes an empty table for a run that may hold quota bytes; 0 is no limit.
func NewTable(quota int64) *Table {
	return &Table{
		quota:    quota,
		slots:    make(map[Name]*slot),
		byLeaf:   make(map[string][]*slot),
		attempts: make(map[Attempt]*attempt),
		waiters:  make(map[string][]Attempt),
		holders:  make(map[Holder]held),
	}
}

// Alloc charges a holder that the attempt is going to fill, and holds it for the attempt.
func (t *Table) Alloc(a Attempt, h Holder) error {
	if t.closed {
		return &Error{Op: "alloc", Kind: ErrClosed}
	}
	if err := t.acquire("alloc", "", h); err != nil {
		return err
	}
	t.open(a).hold(h)
	return nil
}

// Hold holds for the attempt a holder that came from elsewhere and is charged there: a value that another host of the
// run has. It lasts until Release, Commit or Withdraw.
func (t *Table) Hold(a Attempt, h Holder) {
	if t.closed || h == nil {
		return
	}
	if !t.retain(h) {
		t.holders[h] = held{refs: 1}
	}
	t.open(a).hold(h)
}

// Put publishes v as name, "x" or "/x". The holder is charged unless the table holds it already, from Alloc or
// because a value that was read is passed on by reference.
func (t *Table) Put(a Attempt, name string, v Value) error {
	if t.closed {
		return &Error{Op: "put", Slot: name, Kind: ErrClosed}
	}
	n, err := a.Slot(name)
	if err != nil {
		return err
	}
	p := t.attempts[a]
	if p != nil && p.pending[n] != nil {
		return exists("put", p.pending[n])
	}
	if s := t.slots[n]; s != nil {
		return exists("put", s)
	}
	if err := t.acquire("put", name, v.Holder); err != nil {
		return err
	}
	if p == nil {
		p = t.open(a)
	}
	s := &slot{name: n, value: v, by: a}
	p.puts = append(p.puts, s)
	p.pending[n] = s
	return nil
}

// Import publishes v under its full name, "STEP[2]/x" or "/x", for everybody at once. It returns the attempts that
// can go on.
func (t *Table) Import(name string, v Value) (ready []Attempt, err error) {
	if t.closed {
		return nil, &Error{Op: "import", Slot: name, Kind: ErrClosed}
	}
	n, err := ParseName(name)
	if err != nil {
		return nil, err
	}
	if n.Scope == "" && !n.Wide {
		return nil, nameError(name, "a full name is STEP/x, STEP[INDEX]/x or /x")
	}
	if s := t.slots[n]; s != nil {
		return nil, exists("import", s)
	}
	if err := t.acquire("import", name, v.Holder); err != nil {
		return nil, err
	}
	t.publish(&slot{name: n, value: v})
	ready = t.wake(nil, n.Leaf)
	slices.SortFunc(ready, compareAttempts)
	return ready, nil
}

// Peek resolves a name, checks the type and changes nothing; the Name is the full one. The zero Attempt reads as an
// observer that has no step.
func (t *Table) Peek(a Attempt, name string, typ uint64) (Name, Value, error) {
	s, err := t.find("peek", a, name, typ)
	if err != nil {
		return Name{}, Value{}, err
	}
	return s.name, s.value, nil
}

// Published finds a published slot by its full name, also while an open attempt has taken it.
func (t *Table) Published(name string) (Value, error) {
	if t.closed {
		return Value{}, &Error{Op: "find", Slot: name, Kind: ErrClosed}
	}
	n, err := ParseName(name)
	if err != nil {
		return Value{}, err
	}
	s := t.slots[n]
	if s == nil {
		return Value{}, &Error{Op: "find", Slot: name, Kind: ErrNotFound}
	}
	if s.state == gone {
		return Value{}, &Error{Op: "find", Slot: name, Kind: ErrNotFound, Detail: s.taker.Path + " has taken it"}
	}
	return s.value, nil
}

// Len is the length and the type of a value.
func (t *Table) Len(a Attempt, name string) (n int64, typ uint64, err error) {
	s, err := t.find("len", a, name, 0)
	if err != nil {
		return 0, 0, err
	}
	return s.value.Len, s.value.Type, nil
}

// Borrow reads a slot and leaves it for others. The attempt holds the value until Release, Commit or Withdraw.
func (t *Table) Borrow(a Attempt, name string, typ uint64) (Value, error) {
	s, err := t.find("borrow", a, name, typ)
	if err != nil {
		return Value{}, err
	}
	t.retain(s.value.Holder)
	t.open(a).hold(s.value.Holder)
	return s.value, nil
}

// Take consumes a slot and holds its value like Borrow. Others get ErrTaken until the attempt ends.
func (t *Table) Take(a Attempt, name string, typ uint64) (Value, error) {
	s, err := t.find("take", a, name, typ)
	if err != nil {
		return Value{}, err
	}
	t.retain(s.value.Holder)
	p := t.open(a)
	p.hold(s.value.Holder)
	p.takes = append(p.takes, s)
	s.state, s.taker = taken, a
	return s.value, nil
}

// Release gives up one hold of the attempt on h, from Alloc, Borrow or Take. It reports whether there was one.
func (t *Table) Release(a Attempt, h Holder) bool {
	p := t.attempts[a]
	if p == nil || p.holds[h] == 0 {
		return false
	}
	if p.holds[h]--; p.holds[h] == 0 {
		delete(p.holds, h)
	}
	t.drop(h, 1)
	return true
}

// Charge adds n bytes, less if n is negative, to what the run is charged for the attempt itself: the private pages of
// its views. The attempt's end refunds what is left.
func (t *Table) Charge(a Attempt, n int64) error {
	if t.closed {
		return &Error{Op: "write to a view", Slot: a.Path, Kind: ErrClosed}
	}
	if n > 0 && t.over(n) {
		return t.quotaError("write to a view", a.Path, n)
	}
	p := t.open(a)
	n = max(n, -p.private)
	p.private += n
	t.charged += n
	return nil
}

// Commit makes the attempt's puts visible and its takes final, drops its holds, and returns the attempts that can go
// on. Where another attempt has published one of its names it fails with ErrExists and changes nothing; Withdraw
// then.
func (t *Table) Commit(a Attempt) (ready []Attempt, err error) {
	p := t.attempts[a]
	if p == nil {
		return nil, nil
	}
	for _, s := range p.puts {
		if other := t.slots[s.name]; other != nil {
			return nil, exists("commit", other)
		}
	}
	for _, s := range p.puts {
		t.publish(s)
	}
	for _, s := range p.takes {
		t.bury(s)
	}
	t.end(a, p)
	for _, s := range p.puts {
		ready = t.wake(ready, s.name.Leaf)
	}
	for _, s := range p.takes {
		ready = t.wake(ready, s.name.Leaf)
	}
	t.recycle(p)
	slices.SortFunc(ready, compareAttempts)
	return ready, nil
}

// Withdraw undoes the attempt: its puts vanish, its takes come back, its holds are dropped. It returns the attempts
// that can go on because a slot came back.
func (t *Table) Withdraw(a Attempt) (ready []Attempt) {
	p := t.attempts[a]
	if p == nil {
		return nil
	}
	for _, s := range p.takes {
		s.state, s.taker = there, Attempt{}
	}
	for _, s := range p.puts {
		t.drop(s.value.Holder, 1)
	}
	t.end(a, p)
	for _, s := range p.takes {
		ready = t.wake(ready, s.name.Leaf)
	}
	t.recycle(p)
	slices.SortFunc(ready, compareAttempts)
	return ready
}

// Discard undoes what attempts below path have published for good, "each[1]" for "each[1]/map[2]": their names are free
// again. It is for a sub-workflow that is tried once more; none of its attempts is open any longer.
func (t *Table) Discard(path string) {
	for name, s := range t.slots {
		if !strings.HasPrefix(s.by.Path, path+"/") {
			continue
		}
		if s.state != gone {
			t.bury(s)
		}
		delete(t.slots, name)
	}
}

// Released returns, once, the holders that nothing holds any longer, in no particular order. The slice is valid until
// the next operation.
func (t *Table) Released() []Holder {
	r := t.released
	t.released = t.released[:0]
	return r
}

// Charged is the number of bytes that the run holds.
func (t *Table) Charged() int64 { return t.charged }

// Drop ends the run: every slot, hold and wait goes, Released returns what was left, and whatever comes later is
// ErrClosed.
func (t *Table) Drop() {
	released := t.released
	for h := range t.holders {
		released = append(released, h)
	}
	*t = Table{released: released, closed: true}
}

func exists(op string, s *slot) error {
	by := s.by.Path
	if by == "" {
		by = "the run itself"
	}
	return &Error{Op: op, Slot: s.name.String(), Kind: ErrExists, Detail: "by " + by + "; a name is published once in a run"}
}

// publish makes a slot visible to all.
func (t *Table) publish(s *slot) {
	t.slots[s.name] = s
	t.byLeaf[s.name.Leaf] = append(t.byLeaf[s.name.Leaf], s)
}

// bury makes the take of a slot final.
func (t *Table) bury(s *slot) {
	list := t.byLeaf[s.name.Leaf]
	if i := slices.Index(list, s); i >= 0 {
		if list = slices.Delete(list, i, i+1); len(list) == 0 {
			delete(t.byLeaf, s.name.Leaf)
		} else {
			t.byLeaf[s.name.Leaf] = list
		}
	}
	s.state = gone
	t.drop(s.value.Holder, 1)
	s.value.Holder = nil
}

// open returns the record of an attempt, which begins with it.
func (t *Table) open(a Attempt) *attempt {
	p := t.attempts[a]
	if p == nil {
		if k := len(t.spare); k > 0 {
			p, t.spare = t.spare[k-1], t.spare[:k-1]
		} else {
			p = &attempt{pending: make(map[Name]*slot), holds: make(map[Holder]int)}
		}
		t.attempts[a] = p
	}
	return p
}

// end drops what an attempt holds and forgets it.
func (t *Table) end(a Attempt, p *attempt) {
	for h, n := range p.holds {
		t.drop(h, n)
	}
	t.charged -= p.private
	t.Unwait(a)
	delete(t.attempts, a)
}

// recycle keeps the record of an ended attempt for the next one.
func (t *Table) recycle(p *attempt) {
	const most = 16
	if len(t.spare) == most {
		return
	}
	clear(p.puts)
	clear(p.takes)
	clear(p.pending)
	clear(p.holds)
	*p = attempt{puts: p.puts[:0], takes: p.takes[:0], pending: p.pending, holds: p.holds}
	t.spare = append(t.spare, p)
}

func (p *attempt) hold(h Holder) {
	if h != nil {
		p.holds[h]++
	}
}

// acquire counts one more reference to a holder and charges it if it is the first.
func (t *Table) acquire(op, name string, h Holder) error {
	if h == nil {
		return nil
	}
	if t.retain(h) {
		return nil
	}
	size := h.Size()
	if t.over(size) {
		return t.quotaError(op, name, size)
	}
	t.holders[h] = held{refs: 1, bytes: size}
	t.charged += size
	return nil
}

// retain counts one more reference to a holder that the table knows.
func (t *Table) retain(h Holder) bool {
	r, ok := t.holders[h]
	if ok {
		r.refs++
		t.holders[h] = r
	}
	return ok
}

// drop gives up n references.
func (t *Table) drop(h Holder, n int) {
	if h == nil {
		return
	}
	r := t.holders[h]
	if r.refs < n {
		panic("buffer: a holder is released more often than it was held")
	}
	if r.refs -= n; r.refs > 0 {
		t.holders[h] = r
		return
	}
	delete(t.holders, h)
	t.charged -= r.bytes
	t.released = append(t.released, h)
}

func (t *Table) over(n int64) bool { return t.quota > 0 && n > t.quota-t.charged }

func (t *Table) quotaError(op, slot string, n int64) error {
	return &Error{Op: op, Slot: slot, Kind: ErrQuota,
		Detail: fmt.Sprintf("%d bytes asked for, %d of %d held; take or release what is no longer read, or raise the quota",
			n, t.charged, t.quota)}
}
