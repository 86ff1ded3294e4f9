package engine

import (
	"errors"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/store"
)

// Inspection is what a store holds of a run.
type Inspection struct {
	Run      Run
	Open     map[flow.CallID]string // idempotency keys of the calls that have not ended
	Finished map[string]bool        // keys of the calls that have succeeded, since the last retry
	Waiting  []flow.WaitingSignal
}

// Inspect reads a run off a snapshot, whoever else uses the store. It is for
// checks from outside: the simulator holds engines against it. It fails with
// ErrNotFound.
func Inspect(s store.Snapshot, blobs Blobs, p *Program, id string) (*Inspection, error) {
	rec, err := loadRecord(s, id)
	if err != nil {
		return nil, err
	}
	if err := rec.load(blobs); err != nil {
		return nil, err
	}
	h, err := newHistory(p, rec, blobs)
	if err != nil {
		return nil, err
	}
	i := &Inspection{Run: rec.Run, Open: map[flow.CallID]string{}, Finished: map[string]bool{}}
	h.visit = func(_ uint64, entry flow.Entry, answer []flow.Command) {
		if ev, ok := entry.Event.(flow.StepFinished); ok {
			if key, ok := i.Open[ev.Call]; ok {
				i.Finished[key] = true
			}
		}
		for _, c := range answer {
			switch c := c.(type) {
			case flow.StartCall:
				i.Open[c.Call] = c.Key
				delete(i.Finished, c.Key) // an attempt of its sub-workflow has failed, and another begins
			}
		}
	}
	err = h.read(s, blobs)
	for id := range i.Open {
		if !h.machine.Open(flow.StartCall{Call: id}) {
			delete(i.Open, id)
		}
	}
	i.Waiting = h.machine.Waiting()
	return i, err
}

// Remains lists the keys of all that a store holds of runs.
func Remains(s store.Snapshot) ([]string, error) {
	var keys []string
	var errs error
	for _, prefix := range []string{runPrefix, openPrefix, journalPrefix, keyPrefix, expirePrefix} {
		errs = errors.Join(errs, s.Scan([]byte(prefix), nil, func(item store.Item) bool {
			keys = append(keys, string(item.Key))
			return true
		}))
	}
	return keys, errs
}
