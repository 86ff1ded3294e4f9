package machine

import (
	"fmt"
	"strconv"

	"github.com/weft-run/weft/internal/service/journal"
	"github.com/weft-run/weft/internal/service/record"
	"github.com/weft-run/weft/internal/service/wire"
)

// Restarted begins a request anew that waits, is retried or is parked: from the beginning of the
// segment that question From of its own method is in, with what it was answered before
// that. What was done since stands: written state, requests that were begun, side
// effects, promises, compensations; and may be done once more. What is
// begun from there on has other IDs than before, and side effects other keys. The reply's text is the question.
type Restarted struct {
	Request string
	From    uint64 // 1 is the beginning; 0: the segment that it is in, or begins when it has waited
	Version string // of the app, that it goes on with; "": the one that it has
	Entries []journal.Entry
	Waiter  uint64
}

func (Restarted) event() {}

// cutsMax bounds how often a request is restarted, since each time is kept.
const cutsMax = 100

func (m *Machine) restarted(ev Restarted) {
	story := journal.Tell(ev.Entries)
	asked := max(len(story.Paths[""])-1, 0)
	r := m.requests[ev.Request]
	var why string
	switch {
	case r == nil:
		why = "is not there, or has ended"
	case r.cancel != "":
		why = "is " + r.cancel
	case r.state != Waiting && r.state != Parked && r.state != Backing || !r.stored:
		why = fmt.Sprintf("is %v: one that waits, is retried or is parked can be restarted", r.state)
	case r.volatile:
		why = "is in memory only: it has no journal that it could be restarted from"
	case ev.From > uint64(asked)+1:
		why = fmt.Sprintf("has asked %d questions in what is stored: restart it from one of 1 to %d", asked, asked+1)
	case len(r.Cuts) >= cutsMax:
		why = fmt.Sprintf("was restarted %d times, which is the most", cutsMax)
	case ev.Version != "":
		if err := m.o.Catalog(ev.Version, r.Call.To); err != nil {
			why = "cannot go on with version " + ev.Version + ": " + err.Error()
		}
	}
	if why != "" {
		m.tell(ev.Waiter, wire.Refused, fmt.Sprintf("request %s %s", ev.Request, why))
		return
	}
	left, at := story.Cut(ev.From)
	m.unwind(r)
	r.wait = nil
	m.rest(r, Queued)
	if ev.Version != "" {
		r.Version = ev.Version
	}
	ops := []Op{{Key: record.Journal(r.ID), Delete: true, Prefix: true}}
	r.Chunks, r.journal, r.shelved = 0, 0, false
	if r.logs = logsOf(left); len(left) > 0 {
		for _, chunk := range journal.Encode(left) {
			r.journal += len(chunk)
			ops = append(ops, Op{Key: record.Chunk(r.ID, r.Chunks), Value: chunk})
			r.Chunks++
		}
	}
	r.Cuts = append(r.Cuts, at)
	r.Request.Parked, r.failures, r.restored = "", 0, true
	m.emit(Append{append(ops, Op{Key: record.Open(r.ID), Value: r.Encode()})})
	m.enqueue(r)
	m.tell(ev.Waiter, wire.OK, strconv.FormatUint(at, 10))
}

// logsOf makes the logs of a request of its journal.
func logsOf(entries []journal.Entry) map[string]*log {
	var logs map[string]*log
	for _, e := range entries {
		if logs == nil {
			logs = map[string]*log{}
		}
		l := logs[e.Path]
		if l == nil {
			l = &log{}
			logs[e.Path] = l
		}
		switch at := int(e.Seq) - 1; {
		case e.Seq == 0:
			*l = log{start: e.Start, saved: true}
		case at < len(l.entries):
			l.entries[at] = &entry{was: e, answered: e.Answered, answer: e.Answer}
		case at == len(l.entries):
			l.entries = append(l.entries, &entry{was: e, answered: e.Answered, answer: e.Answer})
			l.kept = len(l.entries)
		}
	}
	return logs
}
