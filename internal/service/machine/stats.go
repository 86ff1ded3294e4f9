package machine

import (
	"time"

	"github.com/weft-run/weft/internal/service/wire"
)

// Stats count what a machine has done, and what it has.
type Stats struct {
	Retries   uint64 // attempts after one that came to nothing by a fault
	Parked    uint64 // requests that were parked, those that were refused instead included
	LockWaits uint64 // times that a request waited for a lock
	Deaths    uint64 // segments that were begun anew because somebody older needed their locks
	Diverged  uint64 // requests whose code did not ask the same again
	Refused   uint64 // requests from outside that were refused because too many waited
	Journal   uint64 // bytes

	Requests map[State]int // that have not ended
}

// Stats are the figures of now.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Requests = map[State]int{}
	for _, r := range m.requests {
		s.Requests[r.state]++
	}
	return s
}

// Ended tells that a request has ended.
type Ended struct {
	ID, Version string
	Parent      string // the request that may wait for it
	To          wire.Target
	Outcome     string        // ok, failed, cancelled, or refused: nothing of it has happened
	Why         string        // not of ok
	Took        time.Duration // since it came, or was begun
	Until       int64         // nanoseconds since 1970
	Calls       []Timed       // with Options.Trace: methods that it has called as its parts, in the order in which they returned
}

// Timed is an execution that has returned. One that waited and was run again counts
// from then.
type Timed struct {
	Path        string // package journal
	To          wire.Target
	From, Until int64  // nanoseconds since 1970
	Failed      string // its error
}

// callsMax bounds the executions that are told of a request.
const callsMax = 200

// time notes an execution that returns.
func (m *Machine) time(c *call, v wire.Value) {
	if !m.o.Trace || len(c.r.timed) >= callsMax || c.path == "" {
		return
	}
	t := Timed{Path: c.path, To: c.to, From: c.begun, Until: m.now}
	if v.Code != wire.OK {
		t.Failed = v.Text
	}
	c.r.timed = append(c.r.timed, t)
}

func (Ended) effect() {}

// over tells how a request has ended.
func (m *Machine) over(r *request, outcome, why string) {
	m.emit(Ended{ID: r.ID, Version: r.Version, Parent: r.Parent, To: r.Call.To, Outcome: outcome, Why: why, Took: time.Duration(m.now - r.Time), Until: m.now, Calls: r.timed})
}
