package policy_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/weft-run/weft/internal/cpu/policy"
	"github.com/weft-run/weft/internal/cpu/profile"
)

// TestTraces plays the files of testdata: events in, commands out. A line of input is one event:
//
//	new POLICY cores=1 [slots= weight=APP:N reserve= short= unknown= agemin= turn= window=...]
//	learn FUNCTION TIME COUNT
//	at TIME arrive ID FUNCTION [app= deadline= threads= work= path flags=]
//	at TIME used ID CPU [threads=] | slept ID | woke ID | flags ID N | deadline ID TIME | ended ID CPU | load PERCENT | tick
//
// Each answers with the commands and, when it has changed, the time of the next tick.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		p := &player{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd != "play" {
				d.Fatalf(t, "there is no command %s", d.Cmd)
			}
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				p.line(&out, strings.TrimSpace(line))
			}
			return out.String()
		})
	})
}

// player holds the strategy of a file.
type player struct {
	t        *testing.T
	book     *profile.Book
	strategy policy.Strategy
	next     time.Duration
}

// line plays a line.
func (p *player) line(out *strings.Builder, s string) {
	f := strings.Fields(s)
	switch f[0] {
	case "new":
		o := policy.Defaults(1)
		for _, opt := range f[2:] {
			p.option(&o, opt)
		}
		p.book = profile.NewBook(0)
		o.Book = p.book
		var err error
		if p.strategy, err = policy.New(f[1], o); err != nil {
			fmt.Fprintln(out, err)
			return
		}
		p.next = 0
	case "learn":
		for range number(p.t, f[3]) {
			p.book.Observe(f[1], p.time(f[2]))
		}
	case "view":
		v := p.strategy.View()
		fmt.Fprintf(out, "%d calls: %d express, %d normal, %d batch, %d waiting, %d asleep; %d demotions, %d stops, %d boosts; deadlines met %d, missed %d; queued %v\n",
			v.Calls, v.Express, v.Normal, v.Batch, v.Waiting, v.Sleeping, v.Demotions, v.Stops, v.Boosts, v.Met, v.Missed, v.Queued)
		for _, c := range v.Table {
			fmt.Fprintf(out, "  %s rank %d slice %v\n", c.Function, c.Rank, c.Slice)
		}
	case "at":
		fmt.Fprintf(out, "%s %s\n", f[1], strings.Join(f[2:], " "))
		for _, c := range p.strategy.Step(p.time(f[1]), p.event(f[2:])) {
			fmt.Fprintf(out, "  %v\n", c)
		}
		if next := p.strategy.Next(); next != p.next {
			p.next = next
			fmt.Fprintf(out, "  next %v\n", next)
		}
	default:
		p.t.Fatalf("there is no %s", f[0])
	}
}

// option sets an option.
func (p *player) option(o *policy.Options, s string) {
	name, value, _ := strings.Cut(s, "=")
	switch name {
	case "cores":
		*o = policy.Defaults(number(p.t, value))
	case "slots":
		o.Weft.Slots = number(p.t, value)
	case "reserve":
		o.Weft.Reserve = float(p.t, value)
	case "weight":
		app, n, _ := strings.Cut(value, ":")
		o.Weft.Weights = map[string]float64{app: float(p.t, n)}
	case "agemin":
		o.Weft.AgeMin = p.time(value)
	case "agefactor":
		o.Weft.AgeFactor = float(p.t, value)
	case "scale":
		o.ALPS.Scale = float(p.t, value)
	default:
		p.t.Fatalf("there is no option %s", s)
	}
}

// event reads an event.
func (p *player) event(f []string) policy.Event {
	if f[0] == "tick" {
		return policy.Tick{}
	}
	if f[0] == "load" {
		return policy.Loaded{Percent: float(p.t, f[1])}
	}
	id := policy.ID(number(p.t, f[1]))
	switch f[0] {
	case "arrive":
		c := policy.Call{ID: id, Function: f[2]}
		for _, s := range f[3:] {
			name, value, _ := strings.Cut(s, "=")
			switch name {
			case "app":
				c.App = value
			case "deadline":
				c.Deadline = p.time(value)
			case "threads":
				c.Threads = number(p.t, value)
			case "work":
				c.RunWork = p.time(value)
			case "path":
				c.OnPath = true
			case "flags":
				c.Flags = policy.Flags(number(p.t, value))
			default:
				p.t.Fatalf("there is no %s", s)
			}
		}
		return policy.Arrived{Call: c}
	case "used":
		e := policy.Used{ID: id, CPU: p.time(f[2])}
		if len(f) > 3 {
			e.Threads = number(p.t, strings.TrimPrefix(f[3], "threads="))
		}
		return e
	case "slept":
		return policy.Slept{ID: id}
	case "woke":
		return policy.Woke{ID: id}
	case "flags":
		return policy.Flagged{ID: id, Flags: policy.Flags(number(p.t, f[2]))}
	case "deadline":
		return policy.Deadline{ID: id, At: p.time(f[2])}
	case "ended":
		return policy.Ended{ID: id, CPU: p.time(f[2])}
	case "failed":
		return policy.Ended{ID: id, CPU: p.time(f[2]), Failed: true}
	}
	p.t.Fatalf("there is no event %s", f[0])
	return nil
}

func (p *player) time(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func float(t *testing.T, s string) float64 {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
