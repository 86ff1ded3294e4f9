package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
)

// Kinds of journal lines: the byte after the version. In capitals the line is
// the name of the blob that holds what it says.
const (
	lineEntry   = 'e' // a flow.Entry as JSON
	lineKept    = 'k' // kept: what the call of the next entry has published and taken
	linePaused  = 'p' // moment
	lineResumed = 'r' // moment

	blobbed = 'a' - 'A'
)

// moment is when a run was paused or went on.
type moment struct {
	At time.Time `json:"at"`
}

// line is a change of the store that a run waits to make: one line of its
// journal, or its end.
type line struct {
	fill   func(b *store.Batch) // adds it to a batch
	saving int                  // blobs that are being written: until then neither it nor what follows is appended
}

// journal is a run's way to the store. Lines are appended in the order in which
// they were added, so that what is on disk is always a beginning of what
// happened. It belongs to the run's mailbox.
type journal struct {
	run     *run
	seq     uint64 // of the last journal line: its key
	pending []*line
	waits   []wait // by position
	version store.Version

	// Positions count lines from 1.
	added    uint64 // of the last line
	appended uint64 // of the last line that is in the store
	synced   uint64 // of the last line that is known to be on disk
	asked    uint64 // the store will tell when this one is; 0: it has not been asked
	lagging  uint64 // of the last line that is flushed soon, whoever waits
}

type wait struct {
	at uint64
	f  func()
}

// add adds a line. What is too large for a record becomes a blob first.
func (j *journal) add(kind byte, data []byte) *line {
	j.seq++
	content := data
	if len(data) > inlineMax {
		kind -= blobbed
		content = fmt.Appendf(nil, "line/%d", j.seq)
	}
	key := journalKey(j.run.id, j.seq)
	value := make([]byte, 0, len(content)+2)
	value = append(append(value, recordVersion, kind), content...)
	l := j.push(func(b *store.Batch) { b.Put(key, value) })
	if len(data) > inlineMax {
		j.save(l, string(content), bytes.NewReader(data), nil)
	}
	return l
}

// push adds another change.
func (j *journal) push(fill func(b *store.Batch)) *line {
	j.added++
	l := &line{fill: fill}
	j.pending = append(j.pending, l)
	return l
}

// entry adds an event.
func (j *journal) entry(e flow.Entry) error {
	data, err := flow.AppendEntry(nil, e)
	if err != nil {
		return fmt.Errorf("write journal of run %s: %w", j.run.id, err)
	}
	j.add(lineEntry, data)
	return nil
}

// save writes a blob, before which its line is not appended.
func (j *journal) save(l *line, name string, r io.Reader, release func()) {
	l.saving++
	e, id := j.run.e, j.run.id
	e.work(func() {
		n, err := e.o.Blobs.Save(id, name, r)
		if release != nil {
			release()
		}
		if err != nil {
			e.breakDown(fmt.Errorf("keep a value of run %s: %w", id, err))
			return
		}
		if e.o.Meter != nil {
			e.o.Meter.BytesSaved(n)
		}
		j.run.box.post(func() { l.saving-- })
	})
}

// control adds the moment of a pause or of going on.
func (j *journal) control(kind byte, at time.Time) {
	if data, err := json.Marshal(moment{at}); err == nil { // a time always encodes
		j.add(kind, data)
	}
}

// durable calls f in a turn of the run when everything added so far is on disk:
// at once if it is.
func (j *journal) durable(f func()) {
	if j.synced == j.added {
		f()
		return
	}
	j.waits = append(j.waits, wait{j.added, f})
}

// flush appends what can be appended, as one batch.
func (j *journal) flush() {
	n := 0
	for n < len(j.pending) && j.pending[n].saving == 0 {
		n++
	}
	if n > 0 {
		var b store.Batch
		for _, l := range j.pending[:n] {
			l.fill(&b)
		}
		v, err := j.run.e.o.Store.Append(j.run.e.ctx, &b)
		if err != nil {
			j.run.e.breakDown(fmt.Errorf("write journal of run %s: %w", j.run.id, err))
			return
		}
		if m := j.run.e.o.Meter; m != nil {
			m.JournalBytes(b.Size())
		}
		j.appended += uint64(n)
		j.version = v
		rest := copy(j.pending, j.pending[n:])
		clear(j.pending[rest:])
		j.pending = j.pending[:rest]
	}
	j.ask()
	// What is asked about may be less than what is appended: the rest's turn comes
	// with the answer.
	if j.asked == 0 && j.appended > max(j.synced, j.lagging) {
		j.lagging = j.appended
		j.run.e.lag.behind(j.run.e, j.version)
	}
}

// lag has lines on disk soon that nobody waits for: what a process loses when it
// is killed, it has to do once more.
type lag struct {
	latest atomic.Uint64 // version that is appended
	armed  atomic.Bool   // a flush is on its way
}

// behind notes that a version is not on disk.
func (l *lag) behind(e *Engine, v store.Version) {
	for old := l.latest.Load(); uint64(v) > old && !l.latest.CompareAndSwap(old, uint64(v)); old = l.latest.Load() {
	}
	if !l.armed.CompareAndSwap(false, true) {
		return
	}
	e.o.World.After(e.o.Lag, func() {
		l.armed.Store(false)
		if e.ctx.Err() != nil {
			return
		}
		e.o.Store.Notify(store.Version(l.latest.Load()), func(err error) {
			if err != nil && e.ctx.Err() == nil {
				e.breakDown(fmt.Errorf("write journals: %w", err))
			}
		})
	})
}

// ask has the store tell when what somebody waits for is on disk. One question
// is under way at a time: the next one covers all that came meanwhile.
func (j *journal) ask() {
	if len(j.waits) == 0 || j.asked != 0 || j.appended == j.synced {
		return
	}
	j.asked = j.appended
	r, at := j.run, j.appended
	r.e.o.Store.Notify(j.version, func(err error) {
		if err != nil {
			r.e.breakDown(fmt.Errorf("write journal of run %s: %w", r.id, err))
			return
		}
		r.box.post(func() { j.reached(at) })
	})
}

// reached runs what has waited for the lines up to a position.
func (j *journal) reached(at uint64) {
	j.synced, j.asked = at, 0
	n := 0
	for n < len(j.waits) && j.waits[n].at <= at {
		n++
	}
	due := slices.Clone(j.waits[:n])
	j.waits = slices.Delete(j.waits, 0, n)
	for _, w := range due {
		w.f()
	}
}
