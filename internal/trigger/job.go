package trigger

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Overlap says what happens to a time that comes while a run of the job is in
// progress.
type Overlap string

// What may happen to it.
const (
	OverlapSkip  Overlap = "skip"  // nothing starts (default)
	OverlapQueue Overlap = "queue" // its run starts after that one, at most QueueMax of them
	OverlapAllow Overlap = "allow" // its run starts beside that one
)

// Missed says what happens to times that came while nobody looked: the node was
// down, or its machine asleep.
type Missed string

// What may happen to them.
const (
	MissedOnce Missed = "once" // one run, for the latest of them (default)
	MissedSkip Missed = "skip" // nothing
	MissedAll  Missed = "all"  // a run for each of the latest MissedMax
)

const (
	// MissedMax bounds the runs that make up for missed times.
	MissedMax = 100
	// QueueMax bounds the times of a job that wait for their run to start. Further
	// ones are skipped.
	QueueMax = 100
	// Punctual is how late a time may be seen and not count as missed. A node that is
	// restarted within it misses nothing.
	Punctual = time.Minute

	nameMax = 128 // bytes of a job's name: names are part of keys
	appMax  = 63  // bytes of an app's name
)

// Job is what starts at times.
type Job struct {
	App string // set by Cron
	// Name tells the jobs of an app apart, and stays the same when a new version of
	// the app is deployed. At most 128 bytes of text.
	Name     string
	Schedule Schedule
	Overlap  Overlap // default OverlapSkip
	Missed   Missed  // default MissedOnce
}

// EnsureDefaults fills in what is not set.
func (j *Job) EnsureDefaults() {
	if j.Schedule.Zone == nil {
		j.Schedule.Zone = time.UTC
	}
	if j.Overlap == "" {
		j.Overlap = OverlapSkip
	}
	if j.Missed == "" {
		j.Missed = MissedOnce
	}
}

// Validate reports what a job cannot be run with. A schedule that is never due is
// no such thing.
func (j *Job) Validate() error {
	var errs []error
	if j.Name == "" || len(j.Name) > nameMax || !printable(j.Name) {
		errs = append(errs, fmt.Errorf("its name is not 1 to %d bytes of text", nameMax))
	}
	if err := j.Schedule.Validate(); err != nil && !errors.Is(err, ErrNever) {
		errs = append(errs, err)
	}
	switch j.Overlap {
	case OverlapSkip, OverlapQueue, OverlapAllow:
	default:
		errs = append(errs, fmt.Errorf("overlap is %q, not skip, queue or allow", j.Overlap))
	}
	switch j.Missed {
	case MissedSkip, MissedOnce, MissedAll:
	default:
		errs = append(errs, fmt.Errorf("missed is %q, not skip, once or all", j.Missed))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("job %q of app %s: %w", j.Name, j.App, err)
	}
	return nil
}

// checkApp reports a name that no app has.
func checkApp(app string) error {
	if app == "" || len(app) > appMax || !printable(app) || strings.Contains(app, "/") {
		return fmt.Errorf("%q is not the name of an app", app)
	}
	return nil
}

// printable reports whether a text has no control characters and is UTF-8.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, control)
}

// control reports the control characters of Unicode.
func control(r rune) bool { return r < 0x20 || r >= 0x7f && r <= 0x9f }

// Key is the idempotency key of the run that is due at a time: of at most 256
// bytes, and the same after a crash.
func (j *Job) Key(due time.Time) string {
	return recordPrefix + j.App + "/" + j.Name + "/" + due.UTC().Format(time.RFC3339)
}

// progress is how far a job has come.
type progress struct {
	// Last is the latest time that is dealt with: its run has started or it is in
	// Owed, or none is to start. All times until then are dealt with as well.
	Last time.Time
	Owed []time.Time // whose run has yet to start, in order
	Run  string      // the latest run, empty: none
}

// verdict is what became of the times that came.
type verdict struct {
	owed    int       // times for which a run is to start
	skipped time.Time // the latest time for which none is, because of a run in progress; zero: there is none
	dropped time.Time // the time whose run could not be started until now; zero: there is none
}

// advance deals with the times that have come since the last one. busy says that
// the latest run is in progress, failing that the first run that is owed could not
// be started so far.
func (p *progress) advance(j *Job, now time.Time, busy, failing bool) (v verdict) {
	times := j.Schedule.Last(p.Last, now, MissedMax)
	if len(times) == 0 {
		return v
	}
	latest := times[len(times)-1]
	p.Last = latest
	if failing && len(p.Owed) > 0 {
		v.dropped, p.Owed = p.Owed[0], p.Owed[1:]
	}
	switch {
	case j.Missed == MissedSkip && now.Sub(latest) >= Punctual:
		return v
	case j.Missed != MissedAll:
		times = times[len(times)-1:]
	}
	room := QueueMax - len(p.Owed)
	if j.Overlap == OverlapSkip && (busy || len(p.Owed) > 0) {
		room = 0
	}
	if len(times) > room {
		v.skipped, times = latest, times[:room]
	}
	v.owed = len(times)
	p.Owed = append(p.Owed[:len(p.Owed):len(p.Owed)], times...)
	return v
}

// started notes the run of the first time that is owed.
func (p *progress) started(run string) {
	p.Owed, p.Run = p.Owed[1:], run
}
