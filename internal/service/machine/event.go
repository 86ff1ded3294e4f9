package machine

import (
	"cmp"
	"time"

	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// Event is something that has happened.
type Event interface{ event() }

// Begun is a request from outside. Result is what the store has under its ID, if
// that has ended already; who sends the event has looked it up. Reply answers
// the waiter.
type Begun struct {
	Request record.Request // ID, Call, Version, Keep, Due, Deadline are of use
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

// Left says that the Waiter of Begun waits no longer.
type Left struct {
	Request string
	Waiter  uint64
}

// Asked is a message from an instance.
type Asked struct{ Message wire.Message }

// Loaded answers Load and Scan.
type Loaded struct {
	Load   uint64
	Values []wire.Value // of Load: as its keys; of Scan: entries, Text being the rest of the key
}

// Served says that an execution has got its instance only now, after a Kill that was not
// carried out for want of one: the method's time begins.
type Served struct{ Call uint64 }

// Lost says that an instance is dead, with the execution that it had.
type Lost struct {
	Call uint64
	Why  string
}

// Ticked says that it is later.
type Ticked struct{}

// Pressed says that memory may be short for instances of services: requests that wait, and
// need not keep theirs, lose them.
type Pressed struct{ Short func(service string) bool }

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
	// Family is whether all requests end that go back to the same one from outside, which
	// may have ended itself; compensations do not.
	Family bool
	Waiter uint64
}

// Retried has a parked request tried again.
type Retried struct {
	Request string
	Waiter  uint64
}

// Recovered is a request that the store has from an earlier life.
type Recovered struct {
	Request  record.Request
	Promises map[string]wire.Value
}

func (Begun) event()     {}
func (Accepted) event()  {}
func (Left) event()      {}
func (Asked) event()     {}
func (Loaded) event()    {}
func (Served) event()    {}
func (Lost) event()      {}
func (Ticked) event()    {}
func (Pressed) event()   {}
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

// Load reads keys; Loaded follows. View is "" for the values as they are now; otherwise
// they are as they were at the first Load or Scan of that View since it was last
// closed.
type Load struct {
	Load  uint64
	View  string
	Keys  []string
	Bytes int // the value with which their Size is more than that is the last one, and those after it are Pending; 0: all are read
}

// Scan reads the keys with a prefix that come after one, and their values; Loaded
// follows. View is as in Load.
type Scan struct {
	Load          uint64
	View          string
	Prefix, After string // After is without the prefix
	Limit         int    // of entries
	Bytes         int    // the entry with which their Size is more than that is the last one
}

// Size is what a value of a Load or a Scan counts for, in bytes.
func Size(v wire.Value) int { return len(v.Text) + len(v.Data) + perValue }

// Close says that a view is not read from any more.
type Close struct{ View string }

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

// Kill ends an instance; Lost follows, or Served if there is none yet.
type Kill struct{ Call uint64 }

// Reply answers who waits outside, when all that was appended before is on disk; a
// Volatile one at once.
type Reply struct {
	Waiter   uint64
	Value    wire.Value
	Volatile bool
}

// Park tells people that a request is not tried any more, until Retried.
type Park struct{ Request, Why string }

func (Append) effect() {}
func (Load) effect()   {}
func (Scan) effect()   {}
func (Close) effect()  {}
func (Send) effect()   {}
func (Free) effect()   {}
func (Kill) effect()   {}
func (Reply) effect()  {}
func (Park) effect()   {}

// Options are the bounds of a machine. Zero values are replaced by the defaults.
type Options struct {
	// Catalog fails for a method that there is not in a version of its app. Default:
	// there is every one.
	Catalog func(version string, t wire.Target) error
	// Access fails for a call that a service may not make of another. Who calls from
	// outside is not looked at. Default: every service may call every one.
	Access func(version, caller string, t wire.Target) error
	// Mode is that of a method in a version of its app. Default: Exclusive.
	Mode func(version string, t wire.Target) Mode
	// Switches are those of a service in a version of its app. Default: none is on.
	Switches func(service, version string) Switches
	// Bounds are those of a service in a version of its app. Default: it has none of
	// its own.
	Bounds func(service, version string) Bounds
	Seed   uint64 // of the seeds that methods get
	Trace  bool   // Ended tells of calls
	// Versioned are the services that the store has record.Versioned of.
	Versioned []string
	// Conflict reports, each time that a request has got a lock, whether it is to begin
	// its segment anew as if it had not: so that tests see what a conflict does at any
	// moment. Default: never.
	Conflict func() bool

	Concurrency int           // requests that run at a time; those that wait for time or others do not count; default 256
	Segments    int           // those of them that compute or hold locks: they do no side effect, and do not wait for their first lock without an instance; default 16
	Queue       int           // requests from outside that wait to run; more are refused; default 4096
	Family      int           // requests that go back to one from outside and have not ended: one that would begin more of them is tried again later, and parked in the end; default 10,000
	FamilyBytes int           // of their arguments, together; default 32 MiB
	Open        int           // requests that have not ended: more from outside are refused, and who would begin more is tried again later, and parked in the end; default 100,000
	OpenBytes   int           // of their arguments, together; default 256 MiB
	Idle        int           // requests that keep their instances while they wait for time or others; default 256
	Depth       int           // calls within each other; default 32
	Attempts    int           // of a segment before its request is parked; default 5
	Backoff     time.Duration // before the second attempt; twice as long before each next one; default 100 ms
	Limit       time.Duration // that a method may take from its beginning, or the end of its latest waiting, to its end or its next waiting; default 10 s
	RunLimit    time.Duration // that a side effect may take; default 10 min
	Retention   time.Duration // of results; default 7 days
	ValueMax    int           // bytes of a value in the state, of a result, and of arguments together; default and at most 1 MiB
	WritesMax   int           // bytes that are written at a time; default 4 MiB
	JournalMax  int           // bytes of a request's journal; default 4 MiB
}

// Bounds are what a service has of its own instead of what Options say. Zero values
// are replaced by those.
type Bounds struct {
	Attempts  int
	Limit     time.Duration
	Retention time.Duration
}

// Switches turn parts of the protocol off.
type Switches struct {
	// Volatile is whether requests for the service, and what they begin, are kept in
	// memory only, and answered before what they have done is on disk. A crash ends them;
	// of what they have written it leaves a beginning, as of the log.
	Volatile bool
	// Whole is whether an object has one lock: whoever uses its state has all of it.
	Whole bool
	// Flat is whether transactions that its methods begin are none: what fails in them is
	// not taken back.
	Flat bool
}

// bounds are those of the requests for a service.
func (m *Machine) bounds(service, version string) Bounds {
	b := m.o.Bounds(service, version)
	return Bounds{cmp.Or(b.Attempts, m.o.Attempts), cmp.Or(b.Limit, m.o.Limit), cmp.Or(b.Retention, m.o.Retention)}
}

func (o *Options) ensureDefaults() {
	if o.Catalog == nil {
		o.Catalog = func(string, wire.Target) error { return nil }
	}
	if o.Access == nil {
		o.Access = func(string, string, wire.Target) error { return nil }
	}
	if o.Mode == nil {
		o.Mode = func(string, wire.Target) Mode { return Exclusive }
	}
	if o.Switches == nil {
		o.Switches = func(string, string) Switches { return Switches{} }
	}
	if o.Bounds == nil {
		o.Bounds = func(string, string) Bounds { return Bounds{} }
	}
	if o.Conflict == nil {
		o.Conflict = func() bool { return false }
	}
	set := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	set(&o.Concurrency, 256)
	set(&o.Segments, 16)
	set(&o.Queue, 4096)
	set(&o.Family, 10_000)
	set(&o.FamilyBytes, 32<<20)
	set(&o.Open, 100_000)
	set(&o.OpenBytes, 256<<20)
	set(&o.Idle, 256)
	set(&o.Depth, 32)
	set(&o.Attempts, 5)
	set(&o.ValueMax, 1<<20)
	o.ValueMax = min(o.ValueMax, 1<<20)
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
