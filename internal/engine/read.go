package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
)

// Limits of a page of List.
const (
	pageDefault = 50
	pageMax     = 1000
)

// Get tells where a run is. What it says is durable. The steps of a run that has
// ended are left out if its version of the app is not there any more.
func (e *Engine) Get(ctx context.Context, id string) (Detail, error) {
	if r := e.mortal(id); r != nil {
		h, err := newHistory(r.program, &record{Run: r.view()}, nil)
		if err != nil {
			return Detail{}, err
		}
		h.recall(r)
		return h.detail(), nil
	}
	h, err := e.history(ctx, id)
	var unready *unreadyError
	if errors.As(err, &unready) && unready.rec.Status.Ended() {
		return Detail{Run: unready.rec.Run, Steps: []flow.StepView{}}, nil
	}
	if err != nil {
		return Detail{}, err
	}
	return h.detail(), nil
}

// unreadyError says that a run's version of its app is not there, or cannot be
// made ready.
type unreadyError struct {
	rec *record
	err error
}

func (e *unreadyError) Error() string { return fmt.Sprintf("run %s: %v", e.rec.ID, e.err) }
func (e *unreadyError) Unwrap() error { return e.err }

func (h *history) detail() Detail {
	d := Detail{Run: h.rec.Run, Steps: h.machine.Steps(), Signals: h.machine.Waiting()}
	if d.Steps == nil { // it has not begun
		d.Steps = []flow.StepView{}
	}
	return d
}

// history reads the whole journal of a run, as far as it is durable.
func (e *Engine) history(ctx context.Context, id string) (*history, error) {
	if e.o.Store == nil {
		return nil, fmt.Errorf("run %q: %w", id, ErrNotFound)
	}
	s := e.o.Store.Snapshot()
	defer s.Close()
	rec, err := loadRecord(s, id)
	if err != nil {
		return nil, err
	}
	h, err := e.blank(ctx, rec)
	if err != nil {
		return nil, err
	}
	if err := h.read(s, e.o.Blobs); err != nil {
		return nil, err
	}
	return h, e.o.Store.Durable(ctx, s.Version())
}

// blank is the history of a run of which nothing has been read.
func (e *Engine) blank(ctx context.Context, rec *record) (*history, error) {
	if err := rec.load(e.o.Blobs); err != nil {
		return nil, err
	}
	p, err := e.o.Catalog.Program(ctx, rec.App, rec.Version)
	if err != nil {
		return nil, &unreadyError{rec, err}
	}
	return newHistory(p, rec, e.o.Blobs)
}

// mortal finds a run without a journal, which is under way or was so recently.
func (e *Engine) mortal(id string) *run {
	if r := e.live(id); r != nil {
		if r.durable {
			return nil
		}
		return r
	}
	return e.ended(id)
}

// ended finds a run without a journal that has ended recently.
func (e *Engine) ended(id string) *run {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.recent {
		if r.id == id {
			return r
		}
	}
	return nil
}

// recall reads what is remembered of a run without a journal.
func (h *history) recall(r *run) {
	r.mu.Lock()
	entries := r.memory
	r.mu.Unlock()
	for _, entry := range entries {
		h.seq++
		h.entry(entry)
	}
}

// List gives a page of runs, the newest first, and where the next one begins:
// empty at the end. What it says is durable.
func (e *Engine) List(ctx context.Context, f Filter) ([]Run, string, error) {
	if f.Limit <= 0 {
		f.Limit = pageDefault
	}
	f.Limit = min(f.Limit, pageMax)
	mortal := e.mortals()
	var runs []Run
	more := false
	take := func(r Run) bool {
		if !f.selects(r) {
			return f.Since.IsZero() || !r.Created.Before(f.Since) // they only get older
		}
		if len(runs) == f.Limit {
			more = true
			return false
		}
		runs = append(runs, r)
		return true
	}
	// Runs without a journal are merged in, by age.
	older := func(id string) bool { return len(mortal) > 0 && (id == "" || mortal[0].ID > id) }
	if e.o.Store != nil {
		s := e.o.Store.Snapshot()
		defer s.Close()
		after := runKey(f.After)
		if f.After == "" {
			after = nil
		}
		var failed error
		err := s.Scan([]byte(runPrefix), after, func(item store.Item) bool {
			rec := &record{}
			if failed = decode(item.Value, rec); failed != nil {
				return false
			}
			for older(rec.ID) {
				if !take(mortal[0]) {
					return false
				}
				mortal = mortal[1:]
			}
			return take(rec.Run)
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, "", fmt.Errorf("list runs: %w", err)
		}
		if err := e.o.Store.Durable(ctx, s.Version()); err != nil {
			return nil, "", err
		}
	}
	for !more && older("") && take(mortal[0]) {
		mortal = mortal[1:]
	}
	if !more {
		return runs, "", nil
	}
	return runs, runs[len(runs)-1].ID, nil
}

// mortals are the runs without a journal, the newest first.
func (e *Engine) mortals() []Run {
	e.mu.Lock()
	all := slices.Clone(e.recent)
	for _, r := range e.runs {
		if !r.durable {
			all = append(all, r)
		}
	}
	e.mu.Unlock()
	runs := make([]Run, len(all))
	for i, r := range all {
		runs[i] = r.view()
	}
	slices.SortFunc(runs, func(a, b Run) int { return strings.Compare(b.ID, a.ID) })
	return runs
}

func (f *Filter) selects(r Run) bool {
	return (f.App == "" || f.App == r.App) && (f.Workflow == "" || f.Workflow == r.Workflow) && (f.Status == "" || f.Status == r.Status) &&
		strings.HasPrefix(r.Trigger, f.Trigger) && (f.After == "" || r.ID < f.After) &&
		(f.Since.IsZero() || !r.Created.Before(f.Since)) && (f.Until.IsZero() || r.Created.Before(f.Until))
}

// Using counts the runs of a version of an app that have not ended, those that
// are being accepted too.
func (e *Engine) Using(app, version string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.entering[edition{app, version}]
	for _, r := range e.runs {
		if r.rec.App == app && r.rec.Version == version { // neither changes
			n++
		}
	}
	return n
}

// Underway reports whether a run is there that has not ended.
func (e *Engine) Underway(id string) bool { return e.live(id) != nil }

// Wait returns a run when it has ended, durably.
func (e *Engine) Wait(ctx context.Context, id string) (Run, error) {
	for {
		r := e.live(id)
		if r == nil {
			break
		}
		select {
		case <-r.over:
			return r.view(), nil
		case <-ctx.Done():
			return r.view(), ctx.Err()
		case <-e.ctx.Done():
			return r.view(), e.why()
		}
	}
	d, err := e.Get(ctx, id)
	return d.Run, err
}

// WhenEnded has f told of the end of a run once it is durable: at once if it is
// over. It does nothing for a run that is not there.
func (e *Engine) WhenEnded(id string, f func(Run)) {
	if r := e.live(id); r != nil {
		r.mu.Lock()
		told, rec := r.told, r.rec.Run
		if !told {
			r.wanted = append(r.wanted, f)
		}
		r.mu.Unlock()
		if told {
			f(rec)
		}
		return
	}
	if r := e.ended(id); r != nil {
		f(r.view())
		return
	}
	if e.o.Store == nil {
		return
	}
	s := e.o.Store.Snapshot()
	defer s.Close()
	rec, err := loadRecord(s, id)
	if err != nil || rec.load(e.o.Blobs) != nil {
		return
	}
	e.o.Store.Notify(s.Version(), func(err error) {
		if err == nil {
			f(rec.Run)
		}
	})
}

// Open reads a buffer of a run: one that its output names, or any other that is
// still kept.
func (e *Engine) Open(ctx context.Context, id, slot string) (io.ReadCloser, int64, error) {
	if r := e.mortal(id); r != nil {
		if r.domain == nil {
			return nil, 0, fmt.Errorf("run %s has no buffer %s: %w", id, slot, ErrNotFound)
		}
		rd, size, release, err := r.domain.Hold(slot)
		if err != nil {
			return nil, 0, fmt.Errorf("run %s: %w", id, err)
		}
		return &lent{rd, release}, size, nil
	}
	h, err := e.history(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	saved, ok := h.shelf.slots[slot]
	switch {
	case !ok || saved.Taken && saved.Open == nil:
		return nil, 0, fmt.Errorf("run %s has no buffer %s: %w", id, slot, ErrNotFound)
	case saved.Inline != nil:
		return &lent{bytes.NewReader(saved.Inline), func() {}}, saved.Size, nil
	}
	rd, err := saved.Open()
	return rd, saved.Size, err
}

// lent is a buffer that is given back when it is closed.
type lent struct {
	io.Reader
	release func()
}

func (l *lent) Close() error {
	l.release()
	return nil
}
