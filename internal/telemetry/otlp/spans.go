package otlp

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weft-run/weft/internal/telemetry"
)

// Run is what the span of a run tells of it.
type Run struct {
	ID       string
	App      string
	Version  string // of the app
	Workflow string
	Status   string
	Trigger  string
	Failure  string // message; empty unless it failed or was cancelled
	Retries  int    // times that it was retried: each time it has a span of its own
}

// Context is the place of a run in traces: that of its own span. parent is the
// traceparent that it was started with, or anything else if there was none.
func Context(run string, retries int, parent string) telemetry.Traceparent {
	c := telemetry.Traceparent{Flags: telemetry.FlagSampled}
	if p, err := telemetry.ParseTraceparent(parent); err == nil {
		c.Trace, c.Flags = p.Trace, p.Flags
	} else {
		sum := sha256.Sum256([]byte("trace of " + run))
		copy(c.Trace[:], sum[:])
		c.Trace[0] |= 1 // not all zero
	}
	c.Span = spanID(fmt.Sprintf("run %s, %d", run, retries))
	return c
}

// spanID makes an ID of what tells a span from all others.
func spanID(of string) [8]byte {
	sum := sha256.Sum256([]byte(of))
	sum[0] |= 1 // not all zero
	return [8]byte(sum[:8])
}

// place is where a span belongs in its run.
type place struct {
	step    string
	index   int
	attempt int
}

// tree is a run's trace on its way to spans with parents.
type tree struct {
	run      Run
	trace    *telemetry.Trace
	context  telemetry.Traceparent
	steps    map[place]hexID // steps and items, attempt 0
	attempts map[place][]int // of spans of the trace: a step and its catch have the same place
	ids      []hexID         // of each span of the trace
}

// convert makes the spans of a run: its own first.
func convert(run Run, t *telemetry.Trace, parent string) []span {
	b := &tree{run: run, trace: t, context: Context(run.ID, run.Retries, parent), steps: map[place]hexID{}, attempts: map[place][]int{}}
	b.name()
	root := b.root(parent)
	out := make([]span, 1, len(t.Spans)+1)
	for i, s := range t.Spans {
		if s.Kind == telemetry.KindRun {
			root.Start, root.End = b.at(s.Start), b.at(max(s.End, s.Start))
			continue
		}
		out = append(out, b.span(i, s))
	}
	out[0] = root
	return out
}

// name gives every span its ID. Those that nothing else tells apart are counted.
func (b *tree) name() {
	seen := map[string]int{}
	for i, s := range b.trace.Spans {
		key := fmt.Sprintf("%x %s %q %q %d %d %q", b.context.Span, s.Kind, s.Name, s.Step, s.Index, s.Attempt, s.Host)
		seen[key]++
		id := spanID(key + " " + strconv.Itoa(seen[key]))
		b.ids = append(b.ids, id[:])
		switch p := (place{s.Step, s.Index, 0}); s.Kind {
		case telemetry.KindStep, telemetry.KindCall:
			if b.steps[p] == nil {
				b.steps[p] = b.ids[i]
			}
		case telemetry.KindAttempt:
			p.attempt = s.Attempt
			b.attempts[p] = append(b.attempts[p], i)
		}
	}
}

func (b *tree) at(d time.Duration) nanos { return nanos(b.trace.Start.Add(d)) }

// root is the span of the run, for now with the time of all that is below it.
func (b *tree) root(parent string) span {
	s := span{
		TraceID: b.context.Trace[:], SpanID: b.context.Span[:], Flags: uint32(b.context.Flags), Kind: spanInternal,
		Name: shorten(b.run.Workflow), Start: b.at(0), End: b.at(b.trace.Duration()),
	}
	if s.Name == "" {
		s.Name = "run"
	}
	if p, err := telemetry.ParseTraceparent(parent); err == nil {
		s.Parent, s.Kind = p.Span[:], spanServer
	}
	for _, a := range []struct{ key, value string }{
		{"weft.run", b.run.ID}, {"weft.app", b.run.App}, {"weft.version", b.run.Version}, {"weft.workflow", b.run.Workflow},
		{"weft.status", b.run.Status}, {"weft.trigger", b.run.Trigger},
	} {
		if a.value != "" {
			s.Attributes = append(s.Attributes, text(a.key, a.value))
		}
	}
	if b.run.Retries > 0 {
		s.Attributes = append(s.Attributes, integer("weft.retries", int64(b.run.Retries)))
	}
	if b.run.Failure != "" {
		s.Status = &status{shorten(b.run.Failure), statusError}
	}
	return s
}

// span makes the span of number i, s, of the trace.
func (b *tree) span(i int, s telemetry.Span) span {
	o := span{
		TraceID: b.context.Trace[:], SpanID: b.ids[i], Flags: uint32(b.context.Flags), Kind: spanInternal,
		Start: b.at(s.Start), End: b.at(max(s.End, s.Start)),
	}
	attr := func(a keyValue) { o.Attributes = append(o.Attributes, a) }
	o.Name = string(s.Kind)
	switch s.Kind {
	case telemetry.KindStep:
		o.Name, o.Parent = s.Step, b.aboveStep(s)
	case telemetry.KindCall:
		o.Name, o.Parent = s.Name, b.around(s.Step)
		attr(text("weft.method", s.Name))
	case telemetry.KindAttempt:
		o.Name, o.Parent = s.Name, b.aboveAttempt(s)
		attr(text("weft.function", s.Name))
	case telemetry.KindModule:
		o.Parent = b.aboveMark(s)
		attr(text("weft.module", s.Name))
	case telemetry.KindPut, telemetry.KindTake:
		o.Parent = b.aboveMark(s)
		attr(text("weft.slot", s.Name))
	default:
		o.Parent = b.context.Span[:]
		if s.Name != "" {
			attr(text("weft.name", s.Name))
		}
	}
	if o.Name = shorten(o.Name); o.Name == "" {
		o.Name = string(s.Kind)
	}
	attr(text("weft.kind", string(s.Kind)))
	if s.Step != "" {
		attr(text("weft.step", s.Step))
		if s.Index >= 0 {
			attr(integer("weft.index", int64(s.Index)))
		}
	}
	if s.Attempt > 0 {
		attr(integer("weft.attempt", int64(s.Attempt)))
	}
	if s.Host != "" {
		attr(text("weft.host", s.Host))
	}
	for _, a := range s.Attrs {
		if a.Key == "error" {
			o.Status = &status{shorten(a.Value), statusError}
			continue
		}
		attr(fact(a))
	}
	return o
}

// aboveStep is the parent of a step or an item: an item's step, or the item or
// step that calls the workflow it is in, or the run.
func (b *tree) aboveStep(s telemetry.Span) hexID {
	if s.Index >= 0 {
		if id := b.steps[place{s.Step, telemetry.NoIndex, 0}]; id != nil {
			return id
		}
	}
	return b.around(s.Step)
}

// around finds what calls the workflow that a step is in: "outer" for
// "outer.inner", item 1 of each for "each[1].inner".
func (b *tree) around(step string) hexID {
	for {
		cut := strings.LastIndexByte(step, '.')
		if cut < 0 {
			return b.context.Span[:]
		}
		step = step[:cut]
		name, index := split(step)
		for _, p := range []place{{name, index, 0}, {name, telemetry.NoIndex, 0}} {
			if id := b.steps[p]; id != nil {
				return id
			}
		}
	}
}

// split takes the index off a path: "each[1]" is each and 1.
func split(path string) (step string, index int) {
	if open := strings.LastIndexByte(path, '['); open >= 0 && strings.HasSuffix(path, "]") {
		if n, err := strconv.Atoi(path[open+1 : len(path)-1]); err == nil && n >= 0 {
			return path[:open], n
		}
	}
	return path, telemetry.NoIndex
}

// aboveAttempt is the parent of an attempt: its item or step.
func (b *tree) aboveAttempt(s telemetry.Span) hexID {
	if id := b.steps[place{s.Step, s.Index, 0}]; id != nil {
		return id
	}
	return b.aboveStep(s)
}

// aboveMark is the parent of what happened in a sandbox: the attempt that was
// under way then.
func (b *tree) aboveMark(s telemetry.Span) hexID {
	among := b.attempts[place{s.Step, s.Index, s.Attempt}]
	for _, i := range among {
		if a := b.trace.Spans[i]; a.Start <= s.Start && s.Start <= a.End {
			return b.ids[i]
		}
	}
	if len(among) > 0 {
		return b.ids[among[len(among)-1]]
	}
	return b.aboveAttempt(s)
}

// fact is an attribute of the trace, as a number where it is one.
func fact(a telemetry.Attr) keyValue {
	key := "weft." + shorten(a.Key)
	if n, err := strconv.ParseInt(a.Value, 10, 64); err == nil {
		return integer(key, n)
	}
	if a.Value == "true" || a.Value == "false" {
		return boolean(key, a.Value == "true")
	}
	if d, err := time.ParseDuration(a.Value); err == nil {
		return number(key+"_seconds", d.Seconds())
	}
	return text(key, a.Value)
}
