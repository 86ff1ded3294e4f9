package trigger

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// ErrNever says that an expression names times that do not exist, such as the
// 30th of February.
var ErrNever = errors.New("no such time comes")

// Schedule says at which times something is due, by the clock on the wall of a
// place.
//
// Where that clock is set forward or back, these rules hold, whatever the
// expression:
//
//   - A time that the clock leaves out is due once, at the first moment after the
//     gap. If several are left out, they are due together, once.
//   - A time that the clock shows twice is due once, the first time.
//
// So "30 2 * * *" is due on every day of the year, and "*/5 * * * *" pauses for
// the hour that comes twice. What has to happen at equal intervals has UTC for
// its zone.
type Schedule struct {
	// Expr has five fields: minute, hour, day of month, month, day of week.
	// Seconds are 0.
	Expr string
	Zone *time.Location // default UTC
}

// Validate reports an expression that is malformed or never due (ErrNever).
func (s Schedule) Validate() error {
	if len(strings.Fields(s.Expr)) != 5 || !gronx.IsValid(s.Expr) {
		return fmt.Errorf("cron expression %q: want minute, hour, day of month, month and day of week, such as \"0 3 * * *\"", s.Expr)
	}
	_, err := s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	return err
}

// zone is where the schedule's clock hangs.
func (s Schedule) zone() *time.Location {
	if s.Zone == nil {
		return time.UTC
	}
	return s.Zone
}

// Next is the first time after another at which the schedule is due, in its
// zone. It fails with ErrNever, or because the expression is malformed.
func (s Schedule) Next(after time.Time) (time.Time, error) {
	zone := s.zone()
	// Walls are what the clock shows, written as if it were UTC, where no time is
	// left out or shown twice. The order of moments is that of the walls that are
	// due at them, so the first one after the given moment is the answer.
	local := after.In(zone)
	wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
	for {
		next, err := gronx.NextTickAfter(s.Expr, wall, false)
		if err != nil {
			if gronx.IsValid(s.Expr) {
				err = ErrNever
			}
			return time.Time{}, fmt.Errorf("cron expression %q: %w", s.Expr, err)
		}
		if t := moment(next, zone); t.After(after) {
			return t, nil
		}
		wall = next // shown a second time
	}
}

// Last lists the latest times at which the schedule is due after one moment and
// until another, this one included: at most n, in order.
func (s Schedule) Last(after, until time.Time, n int) []time.Time {
	// Looking forward is what there is, so it looks from ever further back: the
	// times that it finds are about as many as it gives, however long the span is.
	for width := time.Duration(n) * time.Minute; ; width *= 2 {
		from, all := until.Add(-width), false
		if width <= 0 || !from.After(after) {
			from, all = after, true
		}
		var found []time.Time
		for t, err := s.Next(from); err == nil && !t.After(until); t, err = s.Next(t) {
			found = append(found, t)
		}
		if all || len(found) >= n {
			return found[max(0, len(found)-n):]
		}
	}
}

// moment is when a clock shows a wall: the first time that it does, or, if it
// never does, the end of the gap.
func moment(wall time.Time, zone *time.Location) time.Time {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, zone)
	changes := make([]time.Time, 0, 2)
	start, end := near.ZoneBounds()
	for _, t := range []time.Time{start, end} {
		if !t.IsZero() {
			changes = append(changes, t)
		}
	}
	var first time.Time
	try := func(offset time.Duration) {
		t := wall.Add(-offset).In(zone)
		if offsetAt(t) == offset && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	try(offsetAt(near))
	for _, change := range changes {
		try(offsetAt(change.Add(-time.Second)))
		try(offsetAt(change))
	}
	if !first.IsZero() {
		return first
	}
	for _, change := range changes {
		before, after := change.UTC().Add(offsetAt(change.Add(-time.Second))), change.UTC().Add(offsetAt(change))
		if !wall.Before(before) && wall.Before(after) {
			return change
		}
	}
	return near
}

// offsetAt is how far the clock is ahead of UTC at a moment.
func offsetAt(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}
