package trigger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-run/weft/internal/store"
)

// Times that Run waits for.
const (
	// glance is how long Run sleeps at most: timers stand still while the machine
	// sleeps, and its clock may be set.
	glance = 30 * time.Second
	// peek is how often it asks whether a run has ended that another one waits for.
	peek = time.Second
	// backoff is the pause after the first start that has failed. It doubles with
	// each one up to backoffMax.
	backoff    = time.Second
	backoffMax = time.Minute
	// ahead is how far the latest time may lie in the future before the clock is
	// taken to have been wrong.
	ahead = 24 * time.Hour
)

// Options configure a Cron.
type Options struct {
	// Store keeps how far each job has come. Required.
	Store store.Store
	// Start starts the run of a job that is due at a time and returns when it is
	// durable. It must be idempotent: a second call with a key gives the run that the
	// first one started. Required.
	Start func(ctx context.Context, j Job, due time.Time, key string) (runID string, err error)
	// Running reports whether a run is in progress. Default: none is.
	Running func(runID string) bool
	// StartTimeout bounds each call of Start; one that takes longer is repeated, as
	// one that fails is. Starts happen one after another. Default 30 seconds.
	StartTimeout time.Duration
	// Log is told what starts, what does not, and why. Default: nobody is.
	Log *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Running == nil {
		o.Running = func(string) bool { return false }
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate reports what is missing.
func (o *Options) Validate() error {
	if o.Store == nil || o.Start == nil {
		return errors.New("cron: a store and a way to start runs are required")
	}
	return nil
}

// Cron starts jobs at their times. Every time is dealt with once, also when the
// process dies in between: what is owed is durable before it is started, and
// settled after Start has returned; a start that happens again has the same key.
//
// A start that fails is tried again, after one second and then ever more rarely
// up to once a minute, until the job's next time comes.
//
// It is safe for concurrent use. Start and Running are called without a lock.
type Cron struct {
	o    Options
	wake chan struct{} // has room for one: the jobs have changed

	mu   sync.Mutex
	jobs map[string]*entry // by key of the record; guarded by mu, as are the entries
}

// entry is a job that is set. Run is the only one that changes its progress.
type entry struct {
	job      Job
	progress progress
	next     time.Time // after progress.Last; zero: never
	failures int       // of the first start that is owed
	retry    time.Time // when that is tried again; zero: at once
}

// plan computes the entry's next time.
func (e *entry) plan() {
	next, err := e.job.Schedule.Next(e.progress.Last)
	if err != nil {
		next = time.Time{}
	}
	e.next = next.Round(0)
}

// NewCron makes a Cron without jobs. Nothing starts before Run.
func NewCron(o Options) (*Cron, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Cron{o: o, wake: make(chan struct{}, 1), jobs: map[string]*entry{}}, nil
}

// wall is the time that the machine's clock shows. The monotonic clock that
// time.Now measures with as well stands still while the machine sleeps.
func wall() time.Time { return time.Now().Round(0) }

// Set replaces the jobs of an app, and returns when that is durable. Jobs are the
// same if their names are. A job that is new, has come back, or has another
// schedule than before starts nothing for times before now; one that is the same
// goes on where it was, also after a restart. Jobs that are left out are
// forgotten. It reports all invalid jobs at once and then changes nothing.
func (c *Cron) Set(ctx context.Context, app string, jobs []Job) error {
	if err := checkApp(app); err != nil {
		return fmt.Errorf("set cron jobs: %w", err)
	}
	var errs []error
	list := make(map[string]Job, len(jobs))
	for _, j := range jobs {
		j.App = app
		j.EnsureDefaults()
		key := recordKey(app, j.Name)
		if _, twice := list[key]; twice {
			errs = append(errs, fmt.Errorf("two jobs of app %s are called %q", app, j.Name))
		} else if err := j.Validate(); err != nil {
			errs = append(errs, err)
		}
		list[key] = j
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("set cron jobs: %w", err)
	}
	version, err := c.set(ctx, app, list)
	if err == nil && version > 0 {
		err = c.o.Store.Durable(ctx, version)
	}
	if err != nil {
		return fmt.Errorf("set cron jobs of app %s: %w", app, err)
	}
	return nil
}

// set writes the records of an app's jobs and puts the jobs in place. The version
// is 0 if there was nothing to write.
func (c *Cron) set(ctx context.Context, app string, list map[string]Job) (store.Version, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	view := c.o.Store.Snapshot()
	defer view.Close()
	now := wall()
	var b store.Batch
	entries := make(map[string]*entry, len(list))
	for key, j := range list {
		e := &entry{job: j}
		r, found, err := getRecord(view, &j)
		if err != nil {
			return 0, err
		}
		if old := c.jobs[key]; old != nil && found {
			*e = *old
			e.job = j
		} else {
			e.progress = progress{Last: r.Last, Owed: r.Owed, Run: r.Run}
		}
		if !found || !r.schedule(&j) {
			e.progress.Last = now
			if err := putRecord(&b, &j, e.progress); err != nil {
				return 0, err
			}
		}
		e.plan()
		if e.next.IsZero() {
			c.o.Log.Warn("cron job is never due", "app", app, "job", j.Name, "cron", j.Schedule.Expr)
		}
		entries[key] = e
	}
	err := view.Scan([]byte(appPrefix(app)), nil, func(i store.Item) bool {
		if _, ok := list[string(i.Key)]; !ok {
			b.Delete(bytes.Clone(i.Key))
		}
		return true
	})
	if err != nil {
		return 0, err
	}
	var version store.Version
	if b.Len() > 0 {
		if version, err = c.o.Store.Append(ctx, &b); err != nil {
			return 0, err
		}
	}
	c.remove(app, entries)
	for key, e := range entries {
		if old := c.jobs[key]; old != nil {
			*old = *e // Run may be starting it
		} else {
			c.jobs[key] = e
		}
	}
	c.nudge()
	return version, nil
}

// remove takes out an app's jobs but those to keep.
func (c *Cron) remove(app string, keep map[string]*entry) {
	maps.DeleteFunc(c.jobs, func(key string, e *entry) bool { return e.job.App == app && keep[key] == nil })
}

// nudge has Run look again.
func (c *Cron) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Forget removes an app's jobs and what is stored of them, and returns when that
// is durable. An app without jobs is no error.
func (c *Cron) Forget(ctx context.Context, app string) error {
	if err := checkApp(app); err != nil {
		return fmt.Errorf("forget cron jobs: %w", err)
	}
	c.mu.Lock()
	var b store.Batch
	b.DeletePrefix([]byte(appPrefix(app)))
	version, err := c.o.Store.Append(ctx, &b)
	if err == nil {
		c.remove(app, nil)
	}
	c.mu.Unlock()
	if err == nil {
		err = c.o.Store.Durable(ctx, version)
	}
	if err != nil {
		return fmt.Errorf("forget cron jobs of app %s: %w", app, err)
	}
	return nil
}

// JobStatus is how far a job has come.
type JobStatus struct {
	Job
	Last time.Time // the latest time that is dealt with, or when the job was first set
	Next time.Time // the next time; zero: none comes
	Owed int       // times that have come and whose run has yet to start
	Run  string    // the latest run; empty: there was none
}

// Jobs lists the jobs of an app, or of all apps if it is empty, by app and name.
func (c *Cron) Jobs(app string) []JobStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []JobStatus
	for _, e := range c.jobs {
		if app == "" || e.job.App == app {
			out = append(out, JobStatus{e.job, e.progress.Last.In(e.job.Schedule.Zone), e.next, len(e.progress.Owed), e.progress.Run})
		}
	}
	slices.SortFunc(out, func(a, b JobStatus) int {
		return strings.Compare(recordKey(a.App, a.Name), recordKey(b.App, b.Name))
	})
	return out
}
