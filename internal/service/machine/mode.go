package machine

import (
	"fmt"
	"slices"

	"github.com/weft-run/weft/internal/service/lock"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// Mode is how a method uses the state.
type Mode uint8

// The modes.
const (
	Exclusive Mode = iota // reads and writes the state of its object
	Shared                // reads it, and never writes it
	Snapshot              // only reads, whatever it calls; see below
)

func (m Mode) String() string { return [...]string{"exclusive", "shared", "snapshot"}[m] }

// A request for a Snapshot method sees all services as they are at one moment, that of
// its first question for a value: what was appended until then, and nothing of
// segments that are under way. It has no locks, so no writer waits for it, and
// it waits for none. It is a segment like any other in the order of the log, at the
// place of its moment. That is why it cannot do anything but read: what followed from
// it would come later in that order than what it has seen.
//
// Within the segment of another request, whose place is at its end, there is no earlier
// moment to look at: a Snapshot method that is called there is a Shared one.
//
// State of an earlier version is migrated by who comes to it first, in a segment that
// writes it, methods that only read included. A request that was to be a snapshot begins
// anew for that, with locks. An Exclusive method in a snapshot does not migrate: what
// it writes besides could not be told from that.

// lockless reports whether a request reads from a moment of its own.
func (r *request) lockless() bool { return r.snapshot && !r.locking }

// migrate lets an execution that only reads write, once it has said that it migrates the
// state. It reports false if the request begins anew.
func (m *Machine) migrate(c *call, writes []wire.Write) bool {
	switch {
	case c.moves || c.mode == Exclusive || !slices.ContainsFunc(writes, func(w wire.Write) bool { return w.Key == versionKey }):
	case c.r.lockless():
		m.unwind(c.r)
		c.r.locking = true
		m.start(c.r)
		return false
	default:
		c.moves = true
	}
	return true
}

// reading says why an execution does not write, "" if it does.
func (c *call) reading() string {
	switch {
	case c.moves:
	case c.mode != Exclusive:
		return fmt.Sprintf("%v is declared %v, and does not write", c.to, c.mode)
	case c.r.snapshot:
		return c.r.onlyReads()
	}
	return ""
}

// onlyReads says why a snapshot does not do something.
func (r *request) onlyReads() string {
	return fmt.Sprintf("%v is a snapshot, and only reads", r.Call.To)
}

// lockFor is how a method locks what it reads.
func (c *call) lockFor(writes bool) lock.Mode {
	if writes && c.mode == Exclusive {
		return lock.Exclusive
	}
	return lock.Shared
}

// lockForScan is how a method locks the shape of a map that it scans. One that may go on
// to write entries has the map for itself at once: where many do so, they wait
// instead of beginning again.
func (c *call) lockForScan() lock.Mode {
	if c.mode == Exclusive {
		return lock.Exclusive
	}
	return lock.Scanning
}

// want is a lock on a key. Where an object has one lock it is that, in the mode of the
// method: those that write run one at a time, from the first use of the state to the
// segment's end.
func (c *call) want(key string, mode lock.Mode) want {
	switch {
	case !c.switches.Whole:
		return want{key, mode}
	case c.mode == Exclusive || c.moves:
		mode = lock.Exclusive
	default:
		mode = lock.Shared
	}
	return want{record.Shape(c.to.Service, c.to.Object, ""), mode}
}
