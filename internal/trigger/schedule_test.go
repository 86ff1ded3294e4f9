package trigger_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/adhocore/gronx"

	"github.com/weft-run/weft/internal/trigger"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNext(t *testing.T) {
	for _, c := range []struct{ name, zone, expr, after, want string }{
		{"the next night", "UTC", "0 3 * * *", "2026-05-04T12:00:00Z", "2026-05-05T03:00:00Z"},
		{"not the time itself", "UTC", "0 3 * * *", "2026-05-04T03:00:00Z", "2026-05-05T03:00:00Z"},
		{"just before", "UTC", "0 3 * * *", "2026-05-04T02:59:59Z", "2026-05-04T03:00:00Z"},
		{"just after", "UTC", "*/5 * * * *", "2026-05-04T03:00:01Z", "2026-05-04T03:05:00Z"},
		{"leap day", "UTC", "0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"the 31st", "UTC", "0 0 31 * *", "2026-08-31T00:00:00Z", "2026-10-31T00:00:00Z"},
		{"weekday names", "UTC", "0 9 * * MON-FRI", "2026-05-08T09:00:00Z", "2026-05-11T09:00:00Z"},
		{"day of month or day of week", "UTC", "0 0 13 * 5", "2026-05-01T00:00:00Z", "2026-05-08T00:00:00Z"},
		{"a zone", "Asia/Kolkata", "0 9 * * *", "2026-05-04T12:00:00Z", "2026-05-05T09:00:00+05:30"},

		{"summer", "Europe/Berlin", "30 2 * * *", "2026-06-01T00:00:00+02:00", "2026-06-01T02:30:00+02:00"},
		{"left out: after the gap", "Europe/Berlin", "30 2 * * *", "2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"left out: once", "Europe/Berlin", "30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		{"the last moment before the gap", "Europe/Berlin", "* * * * *", "2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"several left out: together", "Europe/Berlin", "*/30 2,3 * * *", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		{"several left out: then the next", "Europe/Berlin", "*/30 2,3 * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"},
		{"twice: the first one", "Europe/Berlin", "30 2 * * *", "2026-10-24T02:30:00+02:00", "2026-10-25T02:30:00+02:00"},
		{"twice: not the second one", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		{"twice: asked between", "Europe/Berlin", "30 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"twice: every minute pauses", "Europe/Berlin", "* * * * *", "2026-10-25T02:59:00+02:00", "2026-10-25T03:00:00+01:00"},
		{"half an hour, left out", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T12:00:00+10:30", "2026-10-04T02:30:00+11:00"},
		{"half an hour, twice", "Australia/Lord_Howe", "45 1 * * *", "2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"},
		{"midnight left out", "America/Havana", "0 0 * * *", "2026-03-07T12:00:00-05:00", "2026-03-08T01:00:00-04:00"},
		{"midnight twice", "America/Havana", "0 0 * * *", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"},
		{"a day left out", "Pacific/Apia", "0 12 30 12 *", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		{"new year's eve in summer time", "America/New_York", "0 2 8 3 *", "2026-01-01T00:00:00Z", "2026-03-08T03:00:00-04:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := trigger.Schedule{Expr: c.expr, Zone: zone(t, c.zone)}
			got, err := s.Next(at(t, c.after))
			if err != nil || !got.Equal(at(t, c.want)) {
				t.Errorf("after %s: %v, %v; want %s", c.after, got, err, c.want)
			}
		})
	}
}

func TestScheduleWithoutZoneIsUTC(t *testing.T) {
	got, err := trigger.Schedule{Expr: "0 3 * * *"}.Next(at(t, "2026-05-04T12:00:00Z"))
	if err != nil || got.Format(time.RFC3339) != "2026-05-05T03:00:00Z" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		expr  string
		never bool
	}{
		{"", false}, {"* * * *", false}, {"* * * * * *", false}, {"@daily", false}, {"60 * * * *", false}, {"x * * * *", false},
		{"0 0 30 2 *", true}, {"0 0 31 4,6,9,11 *", true},
	} {
		err := trigger.Schedule{Expr: c.expr}.Validate()
		if err == nil || errors.Is(err, trigger.ErrNever) != c.never || !strings.Contains(err.Error(), "cron expression") {
			t.Errorf("%q: %v", c.expr, err)
		}
	}
	if err := (trigger.Schedule{Expr: "0 0 29 2 *"}).Validate(); err != nil {
		t.Errorf("leap day: %v", err)
	}
}

// Minute for minute through a change of the clock and back: what is due is what
// the clock's face says, less what it shows a second time, and with the gap's end
// for what is left out.
func TestNextIsWhatTheClockShows(t *testing.T) {
	exprs := []string{"* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * *", "15 1-3 * * *", "0 3 29 * 1", "45 1,2 * * SUN", "59 23 * * *"}
	for place, days := range map[string][]string{
		"Europe/Berlin":       {"2026-03-28", "2026-10-24"},
		"Australia/Lord_Howe": {"2026-04-04", "2026-10-03"},
		"America/Havana":      {"2026-03-07", "2026-10-31"},
		"UTC":                 {"2026-03-28"},
	} {
		z := zone(t, place)
		for _, day := range days {
			start := at(t, day+"T00:00:00Z")
			for _, expr := range exprs {
				var want []time.Time
				shown := map[string]bool{}
				g := gronx.New()
				fields, err := gronx.Segments(expr)
				if err != nil {
					t.Fatal(err)
				}
				due := func(wall time.Time) bool {
					g.C.SetRef(wall)
					ok, err := g.SegmentsDue(fields)
					return ok && err == nil
				}
				face := func(m time.Time) time.Time {
					l := m.In(z)
					return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
				}
				for m := start.Add(-3 * time.Hour); m.Before(start.Add(60 * time.Hour)); m = m.Add(time.Minute) {
					wall := face(m)
					fire := due(wall) && !shown[wall.String()]
					shown[wall.String()] = true
					for w := face(m.Add(-time.Minute)).Add(time.Minute); w.Before(wall); w = w.Add(time.Minute) {
						fire = fire || due(w)
					}
					if fire && m.After(start) {
						want = append(want, m)
					}
				}
				var got []time.Time
				s := trigger.Schedule{Expr: expr, Zone: z}
				for m, err := s.Next(start); m.Before(start.Add(60 * time.Hour)); m, err = s.Next(m) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, m)
				}
				if !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Errorf("%q in %s from %s:\n got %v\nwant %v", expr, place, day, got, want)
				}
			}
		}
	}
}

func TestLast(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	z := zone(t, "Europe/Berlin")
	for _, expr := range []string{"* * * * *", "*/5 3 * * *", "0 * * * *", "30 2 * * *", "0 0 1 * *"} {
		s := trigger.Schedule{Expr: expr, Zone: z}
		for range 5 {
			after := time.Unix(1774000000+rng.Int64N(20_000_000), 0)
			until := after.Add(time.Duration(rng.Int64N(int64(72 * time.Hour))))
			var all []time.Time
			for m, err := s.Next(after); !m.After(until); m, err = s.Next(m) {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, m)
			}
			for _, n := range []int{1, 7, 100} {
				if got, want := s.Last(after, until, n), all[max(0, len(all)-n):]; !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Errorf("%q, %v to %v, %d: got %v, want %v", expr, after, until, n, got, want)
				}
			}
		}
	}
	s := trigger.Schedule{Expr: "* * * * *"}
	if got := s.Last(time.Time{}, at(t, "2026-05-04T12:00:30Z"), 2); len(got) != 2 || got[1].Format(time.RFC3339) != "2026-05-04T12:00:00Z" {
		t.Errorf("since the year 1: %v", got)
	}
}

// Whatever passes Validate has a next time that is after the one it is asked for.
func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"* * * * *", "0 3 * * *", "*/5 1-4 L * 5#2", "0 0 15W * *", "0 0 29 2 MON", "0/10 , - * 7", "0 0 * * 5L", "1-5/2 * * * *"} {
		f.Add(s, int64(1792886400))
	}
	g := gronx.New()
	z := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, expr string, unix int64) {
		s := trigger.Schedule{Expr: expr, Zone: z}
		if len(expr) > 100 || s.Validate() != nil {
			return
		}
		after := time.Unix(unix%(1<<32), 0)
		next, err := s.Next(after)
		if err != nil && !errors.Is(err, trigger.ErrNever) {
			t.Fatalf("%q passed Validate, then: %v", expr, err)
		}
		if err == nil && !next.After(after) {
			t.Fatalf("%q after %v: %v", expr, after, next)
		}
		next, err = trigger.Schedule{Expr: expr}.Next(after)
		if err != nil {
			return
		}
		if ok, err := g.IsDue(expr, next); !ok || err != nil {
			t.Fatalf("%q after %v: %v is not due: %v", expr, after, next, err)
		}
	})
}
