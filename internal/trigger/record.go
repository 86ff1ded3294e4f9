package trigger

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// What a job has in the store:
//
//	cron/APP/NAME    how far it has come, and by which schedule: a version byte and JSON
const recordPrefix = "cron/"

// recordVersion is the first byte of the values.
const recordVersion = 1

// record is a job's progress as it is stored.
type record struct {
	Expr string      `json:"expr"`
	Zone string      `json:"zone"`
	Last time.Time   `json:"last"`
	Owed []time.Time `json:"owed,omitempty"`
	Run  string      `json:"run,omitempty"`
}

func appPrefix(app string) string       { return recordPrefix + app + "/" }
func recordKey(app, name string) string { return appPrefix(app) + name }

// putRecord adds a job's progress to a batch.
func putRecord(b *store.Batch, j *Job, p progress) error {
	r := record{Expr: j.Schedule.Expr, Zone: j.Schedule.Zone.String(), Last: p.Last.UTC(), Run: p.Run}
	for _, t := range p.Owed {
		r.Owed = append(r.Owed, t.UTC())
	}
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write how far job %q of app %s has come: %w", j.Name, j.App, err)
	}
	b.Put([]byte(recordKey(j.App, j.Name)), append([]byte{recordVersion}, value...))
	return nil
}

// getRecord reads what is stored of a job; found says that there is something.
func getRecord(s store.Snapshot, j *Job) (r record, found bool, err error) {
	item, err := s.Get([]byte(recordKey(j.App, j.Name)))
	if errors.Is(err, store.ErrNotFound) {
		return r, false, nil
	}
	if err == nil {
		r, err = decodeRecord(item.Value)
	}
	if err != nil {
		return r, false, fmt.Errorf("read how far job %q of app %s has come: %w", j.Name, j.App, err)
	}
	return r, true, nil
}

var (
	errNewer   = errors.New("written by a newer version of weft")
	errDamaged = errors.New("the record is damaged")
)

func decodeRecord(value []byte) (r record, err error) {
	switch {
	case len(value) == 0 || value[0] == 0:
		return r, errDamaged
	case value[0] > recordVersion:
		return r, errNewer
	}
	if err := json.Unmarshal(value[1:], &r); err != nil {
		return r, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return r, nil
}

// schedule reports whether the progress was made by a job's schedule.
func (r *record) schedule(j *Job) bool {
	return r.Expr == j.Schedule.Expr && r.Zone == j.Schedule.Zone.String()
}
