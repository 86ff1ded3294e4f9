package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
	"github.com/weft-run/weft/internal/telemetry"
)

// history is a run as its journal tells it.
type history struct {
	rec     *record
	machine *flow.Machine
	shelf   *shelf
	seq     uint64 // of the last line
	begun   bool   // there is an event
	paused  time.Time
	stood   time.Duration
	open    []flow.Command // may still be to be answered

	// Visit, if it is not nil, is told of every event and what the machine
	// answered.
	visit func(seq uint64, entry flow.Entry, answer []flow.Command)
}

func newHistory(p *Program, rec *record, blobs Blobs) (*history, error) {
	m, err := p.machine(rec)
	if err != nil {
		return nil, err
	}
	return &history{rec: rec, machine: m, shelf: newShelf(blobs, rec.ID, rec.Uploads)}, nil
}

// read takes in the lines of the journal that come after those it has read.
func (h *history) read(s store.Snapshot, blobs Blobs) error {
	prefix := journalKeys(h.rec.ID)
	var failed error
	err := s.Scan(prefix, journalKey(h.rec.ID, h.seq), func(item store.Item) bool {
		h.seq++
		if want := journalKey(h.rec.ID, h.seq); string(item.Key) != string(want) {
			failed = fmt.Errorf("line %d is missing", h.seq)
			return false
		}
		kind, data, err := readLine(blobs, h.rec.ID, item.Value)
		if err == nil {
			err = h.line(kind, data)
		}
		if err != nil {
			failed = fmt.Errorf("line %d: %w", h.seq, err)
		}
		return err == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("read journal of run %s: %w", h.rec.ID, err)
	}
	return nil
}

// readLine finds what a journal line says.
func readLine(blobs Blobs, run string, value []byte) (kind byte, data []byte, err error) {
	data, err = payload(value)
	if err != nil {
		return 0, nil, err
	}
	if len(data) == 0 {
		return 0, nil, errors.New("it says nothing")
	}
	kind, data = data[0], data[1:]
	if kind < 'A' || kind > 'Z' {
		return kind, data, nil
	}
	b, _, err := blobs.Open(run, string(data))
	if err != nil {
		return 0, nil, err
	}
	defer b.Close()
	data, err = io.ReadAll(b)
	return kind + blobbed, data, err
}

// line takes in one line.
func (h *history) line(kind byte, data []byte) error {
	switch kind {
	case lineEntry:
		var e flow.Entry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		h.entry(e)
		return nil
	case lineKept:
		var k kept
		if err := json.Unmarshal(data, &k); err != nil {
			return err
		}
		h.shelf.keep(k)
		return nil
	case linePaused, lineResumed:
		var m moment
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		if kind == linePaused {
			h.paused = m.At
		} else {
			h.stood += m.At.Sub(h.paused)
			h.paused = time.Time{}
		}
		return nil
	}
	return fmt.Errorf("unknown kind %q", kind)
}

func (h *history) entry(e flow.Entry) {
	h.begun = true
	if _, ok := e.Event.(flow.Retried); ok && h.machine.Retryable() {
		h.open = nil
	}
	answer := h.machine.Apply(e.Event, e.At)
	for _, c := range answer {
		if d, ok := c.(flow.Discard); ok {
			h.shelf.discard(slotPath(d.Path))
		}
	}
	h.open = append(h.open, answer...)
	if h.visit != nil {
		h.visit(h.seq, e, answer)
	}
}

// Recover brings back the runs that had not ended when the last engine of this
// store did. It returns when all of them are known; they go on one after the
// other from then on.
func (e *Engine) Recover() error {
	s := e.o.Store.Snapshot()
	defer s.Close()
	var runs []*run
	var failed error
	err := s.Scan([]byte(openPrefix), nil, func(item store.Item) bool {
		id := string(item.Key[len(openPrefix):])
		rec, err := loadRecord(s, id)
		if err != nil {
			failed = fmt.Errorf("recover runs: %w", err)
			return false
		}
		r := e.newRun(*rec, true)
		runs = append(runs, r)
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	e.mu.Lock()
	for _, r := range runs {
		e.runs[r.id] = r
		e.perApp[r.rec.App]++
	}
	e.mu.Unlock()
	e.work(func() {
		for _, r := range runs {
			if e.ctx.Err() != nil {
				return
			}
			e.revive(r, nil, r.stuck)
		}
	})
	e.sweep()
	e.work(e.sweepLogs)
	return nil
}

// revive reads the journal of a run and lets it go on, beginning with what then
// does. If it cannot go on, because its app is gone or not ready, failed is told
// in a turn of the run.
func (e *Engine) revive(r *run, then func(), failed func(error)) {
	r.mu.Lock()
	err := r.rec.load(e.o.Blobs)
	r.mu.Unlock()
	var p *Program
	if err == nil {
		if p, err = e.o.Catalog.Program(e.ctx, r.rec.App, r.rec.Version); err != nil {
			err = &unreadyError{&r.rec, err}
		}
	}
	var h *history
	if err == nil {
		h, err = newHistory(p, &r.rec, e.o.Blobs)
	}
	if err == nil {
		s := e.o.Store.Snapshot()
		err = h.read(s, e.o.Blobs)
		s.Close()
	}
	r.box.post(func() {
		switch {
		case e.ctx.Err() != nil || r.dead || r.outcome != nil:
		case err != nil:
			failed(err)
		default:
			r.goOn(p, h, then)
		}
	})
}

// goOn continues a run from its history.
func (r *run) goOn(p *Program, h *history, then func()) {
	r.lacking = nil
	r.program, r.machine, r.shelf, r.restore = p, h.machine, h.shelf, true
	r.paused, r.stood, r.journal.seq = h.paused, h.stood, h.seq
	if r.e.o.Trace {
		r.spans = telemetry.NewRecorderAt(r.id, r.rec.Created)
	}
	if then != nil {
		then()
		return
	}
	if !h.begun { // the node died between its record and its first event
		r.apply(flow.Started{})
	}
	for _, c := range h.open {
		if r.outcome != nil {
			break
		}
		if r.machine.Open(c) {
			r.carryOut(nil, []flow.Command{c})
		}
	}
	r.catchUp()
}

// catchUp does what was asked of a run before it could go on.
func (r *run) catchUp() {
	early := r.early
	r.early = nil
	for _, f := range early {
		f()
	}
}

// sweep drops the blobs of runs that are not there: the node died between
// writing them and the record that names them.
func (e *Engine) sweep() {
	owners, err := e.o.Blobs.Owners()
	if err != nil {
		return // they cost room, and the next start tries again
	}
	s := e.o.Store.Snapshot()
	defer s.Close()
	for _, id := range owners {
		if _, err := loadRecord(s, id); errors.Is(err, ErrNotFound) && e.live(id) == nil {
			e.o.Blobs.Drop(id)
		}
	}
}

// sweepLogs drops the logs of runs that are not there: the node died after it
// had forgotten them.
func (e *Engine) sweepLogs() {
	if e.o.Logs == nil {
		return
	}
	ids, err := e.o.Logs.Runs()
	if err != nil {
		return // they cost room, and the next start tries again
	}
	for len(ids) > 0 && e.ctx.Err() == nil {
		n := min(len(ids), expireBatch)
		s := e.o.Store.Snapshot()
		for _, id := range ids[:n] {
			if _, err := loadRecord(s, id); errors.Is(err, ErrNotFound) && e.live(id) == nil {
				e.o.Logs.Drop(id)
			}
		}
		s.Close()
		ids = ids[n:]
	}
}
