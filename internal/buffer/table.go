package buffer

import "errors"

// Holder is what holds the bytes of a value: *Segment, *Inline, *File, or what the caller adds. It must be
// comparable (a pointer): the same holder under two names is counted and charged once.
type Holder interface {
	Size() int64 // bytes that a run is charged for holding it
}

// Inline holds a small value in ordinary memory.
type Inline struct{ Bytes []byte }

// Size is the number of bytes.
func (i *Inline) Size() int64 { return int64(len(i.Bytes)) }

// Value is what a slot holds.
type Value struct {
	Holder Holder
	Len    int64  // bytes
	Type   uint64 // fingerprint; 0 is untyped and matches every reader
}

// Attempt is one try of one call of a run. Path is the step, with the index of a foreach: "split", "map[2]"; inside a
// sub-workflow the path of the calling step goes before: "outer/map[2]".
type Attempt struct {
	Path   string
	Number int // 1, 2, …
}

// Wait is an attempt that waits for a slot.
type Wait struct {
	Attempt Attempt
	Name    string // as the waiter gave it
}

// Deadlock is the error of attempts that wait for what no running step can publish. It is an ErrDeadlock.
type Deadlock struct{ Waits []Wait }

func (d *Deadlock) Error() string { return "deadlock" }

// Table holds the slots of a run. It is not safe for concurrent use: its caller has the lock.
type Table struct{}

// NewTable makes an empty table for a run that may hold quota bytes (0: no limit).
func NewTable(quota int64) *Table { return &Table{} }

var errTodo = errors.ErrUnsupported

// Alloc charges a holder that the attempt is going to fill, and holds it for the attempt.
func (t *Table) Alloc(a Attempt, h Holder) error { return errTodo }

// Put publishes v as name ("x" or "/x"): visible to the attempt at once, to others after Commit. The holder is
// charged unless the table holds it already (Alloc, or a value forwarded by reference).
func (t *Table) Put(a Attempt, name string, v Value) error { return errTodo }

// Import publishes v under a full name ("STEP[2]/x" or "/x") for everybody at once, and returns who can go on.
func (t *Table) Import(name string, v Value) (ready []Attempt, err error) { return nil, errTodo }

// Peek resolves a name and checks the type, and changes nothing. The Name is the full one.
func (t *Table) Peek(a Attempt, name string, typ uint64) (Name, Value, error) {
	return Name{}, Value{}, errTodo
}

// Borrow reads a slot and leaves it for others. The attempt holds the value until Release, Commit or Withdraw.
func (t *Table) Borrow(a Attempt, name string, typ uint64) (Value, error) { return Value{}, errTodo }

// Take consumes a slot: others get ErrTaken until the attempt ends; then it is gone (Commit) or back (Withdraw).
func (t *Table) Take(a Attempt, name string, typ uint64) (Value, error) { return Value{}, errTodo }

// Len is Peek of length and type.
func (t *Table) Len(a Attempt, name string) (n int64, typ uint64, err error) { return 0, 0, errTodo }

// Release gives up one hold of the attempt on h (from Alloc, Borrow or Take).
func (t *Table) Release(a Attempt, h Holder) {}

// Charge adds n bytes to what the run is charged for the attempt itself (private pages of its views); n may be
// negative. All of it is refunded when the attempt ends.
func (t *Table) Charge(a Attempt, n int64) error { return errTodo }

// Wait reports whether name is there for the attempt; if not, the attempt is noted as waiting until it is, or until
// Unwait or its end.
func (t *Table) Wait(a Attempt, name string) (bool, error) { return false, errTodo }

// Unwait ends the wait of an attempt, if it has one.
func (t *Table) Unwait(a Attempt) {}

// Waiting lists who waits for what, in order of paths.
func (t *Table) Waiting() []Wait { return nil }

// Commit makes the attempt's puts visible and its takes final, drops its holds, and returns the attempts whose wait
// is over. When another attempt published one of its names first it fails with ErrExists and changes nothing:
// Withdraw then.
func (t *Table) Commit(a Attempt) (ready []Attempt, err error) { return nil, errTodo }

// Withdraw undoes the attempt: its puts vanish, its takes come back, its holds are dropped. It returns the attempts
// whose wait is over because a slot came back.
func (t *Table) Withdraw(a Attempt) (ready []Attempt) { return nil }

// Released returns, once, the holders that nothing holds any longer.
func (t *Table) Released() []Holder { return nil }

// Charged is the number of bytes that the run holds.
func (t *Table) Charged() int64 { return 0 }

// Drop ends the run: every slot, hold and wait goes; Released then returns all that was left.
func (t *Table) Drop() {}
