// Package policy decides which of the calls that run on a node get the processor:
// in which tier each one starts, which ones fall, which are stopped for a while, and
// which go on.
//
// A Strategy is a state machine. It is told what happens, with the time, and gives
// commands; a backend carries them out with what the kernel offers, and package whatif
// plays them on a simulated machine:
//
//	s, err := policy.New(policy.Weft, policy.Defaults(2))
//	for _, c := range s.Step(now, policy.Arrived{Call: policy.Call{ID: 1, Function: "resize@3", App: "shop"}}) {
//		backend.Do(c)                              // Start in Express, and say when it has used 15 ms
//	}
//	s.Step(now, policy.Used{ID: 1, CPU: 15 * time.Millisecond}) // Demote to Batch, or Stop
//	s.Next()                                       // when a Tick is wanted
//
// There are four: none lets the kernel decide, alps and sfs are what the papers of
// those names describe, and weft is this system's own. All of them learn: each call
// that ends is observed in Options.Book, so profiles are there whichever is chosen.
//
// The package is pure: no clock, no system call, and the same events give the same
// commands.
//
//	policy.go   events, commands, the interface
//	options.go  parameters
//	none.go sfs.go alps.go learn.go   the strategies that weft is compared with
//	weft.go     the calls of weft's own strategy, event by event
//	slots.go    long calls: their order, and who may run
//	reserve.go  deadlines, ageing and the share that is kept for long calls
//	view.go     what a strategy has done, for people
//
// docs/cpu.md explains the strategies, with formulas and sources.
package policy

import (
	"fmt"
	"strings"
	"time"
)

// The names of the strategies.
const (
	None = "none"
	ALPS = "alps"
	SFS  = "sfs"
	Weft = "weft"
)

// Names are the strategies, the baselines first.
var Names = []string{None, ALPS, SFS, Weft}

// ID names a call as long as it has not ended.
type ID uint64

// Call is what a strategy is told of a call when it arrives.
type Call struct {
	ID       ID
	Function string        // name and version: what the call's CPU time is learned under
	App      string        // whose weight counts
	Threads  int           // that can run at a time; 0 means 1
	Deadline time.Duration // by which it should have ended, on the clock of Step; 0: none. What it waits counts.
	// RunWork is the CPU time that the call's run still needs along its critical path,
	// this call included; 0 when that is not known. OnPath says that the call is on it.
	RunWork time.Duration
	OnPath  bool
	Flags   Flags
}

// Flags say why a call may not be stopped now.
type Flags uint8

// The reasons.
const (
	HoldsLock   Flags = 1 << iota // a service lock, which others may wait for
	OwesSlot                      // a slot that another call waits for
	Forking                       // a stop would hit the parent half way
	Unstoppable                   // the sandbox cannot be stopped alone
)

// Tier is a class of processor time; a call of a lower tier goes before all of a higher.
type Tier uint8

// The tiers.
const (
	Express Tier = iota // short calls: they take the processor from others
	Normal              // as the kernel has it
	Batch               // long calls: what others leave
)

var tierNames = [...]string{"express", "normal", "batch"}

// String is the tier's name.
func (t Tier) String() string {
	if int(t) < len(tierNames) {
		return tierNames[t]
	}
	return fmt.Sprintf("tier %d", uint8(t))
}

// Event is something that happened.
type Event interface{ event() }

type (
	// Arrived brings a call that may begin as soon as a Start says so.
	Arrived struct{ Call Call }
	// Started tells that the call's code has begun to run.
	Started struct{ ID ID }
	// Used tells what CPU time the call has used in all. It is due when the budget of the
	// call's last command is used, and may come more often.
	Used struct {
		ID  ID
		CPU time.Duration
		// Threads of the call that can run now, if that has changed; 0: as before.
		Threads int
	}
	// Slept tells that no thread of the call can run, for now.
	Slept struct{ ID ID }
	// Woke tells that one can again.
	Woke struct{ ID ID }
	// Flagged tells that the call may or may no longer be stopped.
	Flagged struct {
		ID    ID
		Flags Flags
	}
	// Deadline gives the call another deadline; 0 takes it away.
	Deadline struct {
		ID ID
		At time.Duration
	}
	// Ended tells that the call is over, with the CPU time that it used in all. Failed
	// says that this is not what such calls need: it is not learned.
	Ended struct {
		ID     ID
		CPU    time.Duration
		Failed bool
	}
	// Loaded tells how busy the cores are, in percent.
	Loaded struct{ Percent float64 }
	// Tick tells the time and nothing else.
	Tick struct{}
)

func (Arrived) event()  {}
func (Started) event()  {}
func (Used) event()     {}
func (Slept) event()    {}
func (Woke) event()     {}
func (Flagged) event()  {}
func (Deadline) event() {}
func (Ended) event()    {}
func (Loaded) event()   {}
func (Tick) event()     {}

// Op is what a command does.
type Op uint8

// The commands.
const (
	Start    Op = iota // let the call begin, in Tier
	Demote             // move it to Tier, which is a higher one
	Boost              // move it to Tier, which is a lower one
	Stop               // let it not run until Continue
	Continue           // let it run again, in Tier
	Adjust             // same tier, another Rank, Slice or Budget
)

var opNames = [...]string{"start", "demote", "boost", "stop", "continue", "adjust"}

// String is the command's name.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Command is what a backend is to do with a call. Rank and Slice are for backends that
// can order calls inside a tier, and 0 from strategies that do not.
type Command struct {
	Op     Op
	Call   ID
	Tier   Tier
	Rank   int           // the least goes first; calls of equal rank share
	Slice  time.Duration // how long the call keeps a core once it has one
	Budget time.Duration // Used is wanted when the call has used so much in all; 0: not
}

// String is the command in a line, for traces.
func (c Command) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %d", c.Op, c.Call)
	if c.Op != Stop {
		fmt.Fprintf(&b, " %v", c.Tier)
	}
	if c.Rank != 0 {
		fmt.Fprintf(&b, " rank %d", c.Rank)
	}
	if c.Slice != 0 {
		fmt.Fprintf(&b, " slice %v", c.Slice)
	}
	if c.Budget != 0 {
		fmt.Fprintf(&b, " budget %v", c.Budget)
	}
	return b.String()
}

// Strategy is a scheduler of calls. It is not safe for concurrent use.
type Strategy interface {
	// Name is one of Names.
	Name() string
	// Step takes an event and gives the commands that follow from it, in order. They are
	// valid until the next Step. Time never goes back; events of calls that are not known
	// give nothing.
	Step(now time.Duration, e Event) []Command
	// Next is when a Tick is wanted at the latest; 0: not before something happens.
	Next() time.Duration
	// View shows what the strategy has done.
	View() View
}

// New makes a strategy by name. The error says what is wrong with the name or the options.
func New(name string, o Options) (Strategy, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("make CPU policy %s: %w", name, err)
	}
	o.ensureBook()
	switch name {
	case None:
		return &none{desk: newDesk(o)}, nil
	case ALPS:
		return newALPS(o), nil
	case SFS:
		return newSFS(o), nil
	case Weft:
		return newWeft(o), nil
	}
	return nil, fmt.Errorf("make CPU policy: there is none called %q, only %s", name, strings.Join(Names, ", "))
}
