package machine

import (
	"time"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// Event is something that has happened.
type Event interface{ event() }

// Begun is a request from outside. Result is what the store has under its ID, if
// that has ended already; who sends the event has looked it up. Reply answers
// the waiter.
type Begun struct {
	Request record.Request // ID, Call, Version, Keep, Due are of use
	Result  *record.Result
	Waiter  uint64 // 0: nobody waits for the result
}

// Accepted is a request from outside that nobody waits for: Reply tells the waiter
// that its intent is durable.
type Accepted struct {
	Request record.Request
	Result  *record.Result
	Waiter  uint64
}

// Asked is a message from an instance.
type Asked struct{ Message wire.Message }

// Loaded answers Load and Scan.
type Loaded struct {
	Load   uint64
	Values []wire.Value // of Load: as its keys; of Scan: entries, Text being the rest of the key
}

// Lost says that an instance is dead, with the execution that it had.
type Lost struct {
	Call uint64
	Why  string
}

// Ticked says that it is later.
type Ticked struct{}

// Resolved is a promise's value from outside; the first one stands.
type Resolved struct {
	Request, Name string
	Value         wire.Value // OK or Failed
	Waiter        uint64
}

// Cancelled ends a request, and what it has begun and waits for. Its compensations
// follow.
type Cancelled struct {
	Request, Reason string
	Waiter          uint64
}

// Retried has a parked request tried again.
type Retried struct {
	Request string
	Waiter  uint64
}

// Recovered is a request that the store has from an earlier life.
type Recovered struct {
	Request  record.Request
	Entries  []journal.Entry
	Promises map[string]wire.Value
}

func (Begun) event()     {}
func (Accepted) event()  {}
func (Asked) event()     {}
func (Loaded) event()    {}
func (Lost) event()      {}
func (Ticked) event()    {}
func (Resolved) event()  {}
func (Cancelled) event() {}
func (Retried) event()   {}
func (Recovered) event() {}

// Effect is something to be done, in the order of effects.
type Effect interface{ effect() }

// Append writes to the store, all or nothing. Later effects see it.
type Append struct{ Ops []Op }

// Op is a write.
type Op struct {
	Key    string
	Value  []byte
	Delete bool // of the key
	Prefix bool // with Delete: of all that begins with the key
}

// Load reads keys; Loaded follows.
type Load struct {
	Load uint64
	Keys []string
}

// Scan reads the keys with a prefix that come after one, and their values; Loaded
// follows.
type Scan struct {
	Load          uint64
	Prefix, After string // After is without the prefix
	Limit         int
}

// Send takes a message to the instance that has an execution. A wire.Start goes to
// an instance of that service that is free. With Durable it leaves when all that
// was appended before is on disk.
type Send struct {
	Message wire.Message
	Durable bool
}

// Free says that an execution is over. An instance whose execution has returned is
// Clean and serves others; the one of an execution that was given up has to be told
// (wire.Aborted), or ended.
type Free struct {
	Call  uint64
	Clean bool
}

// Kill ends an instance; Lost follows.
type Kill struct{ Call uint64 }

// Reply answers who waits outside, when all that was appended before is on disk.
type Reply struct {
	Waiter uint64
	Value  wire.Value
}

// Park tells people that a request is not tried any more, until Retried.
type Park struct{ Request, Why string }

func (Append) effect() {}
func (Load) effect()   {}
func (Scan) effect()   {}
func (Send) effect()   {}
func (Free) effect()   {}
func (Kill) effect()   {}
func (Reply) effect()  {}
func (Park) effect()   {}

// Options are the bounds of a machine. Zero values are replaced by the defaults.
type Options struct {
	// Catalog fails for a method that there is not. Default: there is every one.
	Catalog func(wire.Target) error
	Seed    uint64 // of the seeds that methods get

	Concurrency int           // requests that run at a time; those that wait for time or others do not count; default 256
	Queue       int           // requests from outside that wait to run; more are refused; default 4096
	Idle        int           // requests that keep their instances while they wait for time or others; default 256
	Depth       int           // calls within each other; default 32
	Attempts    int           // of a request before it is parked; default 5
	Backoff     time.Duration // before the second attempt; twice as long before each next one; default 100 ms
	Limit       time.Duration // that a method may take between two answers; default 10 s
	RunLimit    time.Duration // that a side effect may take; default 10 min
	Retention   time.Duration // of results; default 7 days
	ValueMax    int           // bytes of a value in the state, of a result, and of arguments together; default 32 KiB
	WritesMax   int           // bytes that are written at a time; default 4 MiB
	JournalMax  int           // bytes of a request's journal; default 4 MiB
}

func (o *Options) ensureDefaults() {
	if o.Catalog == nil {
		o.Catalog = func(wire.Target) error { return nil }
	}
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&o.Concurrency, 256)
	set(&o.Queue, 4096)
	set(&o.Idle, 256)
	set(&o.Depth, 32)
	set(&o.Attempts, 5)
	set(&o.ValueMax, 32<<10)
	set(&o.WritesMax, 4<<20)
	set(&o.JournalMax, 4<<20)
	span := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	span(&o.Backoff, 100*time.Millisecond)
	span(&o.Limit, 10*time.Second)
	span(&o.RunLimit, 10*time.Minute)
	span(&o.Retention, 7*24*time.Hour)
}
