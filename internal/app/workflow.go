package app

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-run/weft/internal/flow"
)

// Bounds of a workflow's times.
const (
	maxRunTime = 30 * 24 * time.Hour
	maxKept    = 10 * 365 * 24 * time.Hour
	maxBackoff = 24 * time.Hour
	maxFactor  = 100
)

// Outline is what an app file says of a workflow beyond its graph.
type Outline struct {
	Description string
	Input       any            // JSON Schema that the run's input must meet; nil: any input
	Durability  string         // DurabilityJournal or DurabilityNone
	Retention   time.Duration  // how long a run is kept after its end; 0: as the node says
	Pos         Pos            // of the workflow's name
	Steps       map[string]Pos // of the steps' names
	schema      *jsonschema.Schema
}

// What becomes of the runs of a workflow when their node dies.
const (
	DurabilityJournal = "journal" // they go on when it is there again
	DurabilityNone    = "none"    // they are lost
)

// CheckInput reports how a run's input differs from what the workflow wants.
// The input is a value as encoding/json gives it.
func (o *Outline) CheckInput(input any) error {
	if o == nil || o.schema == nil {
		return nil
	}
	if err := o.schema.Validate(input); err != nil {
		return fmt.Errorf("check input: %s", schemaMessage(err))
	}
	return nil
}

// draft is a workflow as it is read: the result, and the places of what
// checks that see the whole file may want to complain about.
type draft struct {
	name        string
	at          span
	flow        *flow.Workflow
	outline     *Outline
	places      map[string]map[string]span // step name ("" is the workflow itself), then key such as "needs[1]"
	spoiled     map[string][]string        // step name, then keys whose values have errors already
	calls       []callSite
	expressions map[keyOf][]expressionSite
}

// keyOf names a key of a step, or of the workflow when step is empty, as flow
// does in problems: "with.parts[2]".
type keyOf struct{ step, key string }

// callSite is a name that a step, or its catch, calls.
type callSite struct {
	name  string
	at    span
	step  int // index in the workflow's steps
	catch bool
}

// stepDraft is a step being read, within its workflow.
type stepDraft struct {
	*draft
	step *flow.Step
}

var workflowFields = []field[draft]{
	{"description", func(b *builder, n *node, d *draft) { d.outline.Description = b.text(n, "a string") }},
	{"input", func(b *builder, n *node, d *draft) { d.outline.Input, d.outline.schema = b.inputSchema(n) }},
	{"timeout", func(b *builder, n *node, d *draft) {
		d.flow.Timeout = b.duration(n, minTimeout, maxRunTime)
		d.mark("", "timeout", n.at)
	}},
	{"durability", func(b *builder, n *node, d *draft) {
		d.outline.Durability = b.choice(n, "durability", DurabilityJournal, DurabilityNone)
	}},
	{"retention", func(b *builder, n *node, d *draft) { d.outline.Retention = b.duration(n, time.Second, maxKept) }},
	{"steps", func(b *builder, n *node, d *draft) {
		if n.kind != mapping {
			d.spoil("", "steps")
		}
		b.each(n, "steps", maxSteps, func(e entry) { b.step(d, e) })
	}},
	{"output", func(b *builder, n *node, d *draft) {
		d.flow.Output = b.template(d, "", "output", n)
	}},
}

var stepFields = []field[stepDraft]{
	{"call", func(b *builder, n *node, s *stepDraft) { b.call(s, n, false) }},
	{"needs", func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "needs", n.at)
		b.list(n, "a list of steps", func(item *node) {
			name := b.text(item, "the name of a step")
			s.mark(s.step.Name, "needs["+strconv.Itoa(len(s.step.Needs))+"]", item.at)
			s.step.Needs = append(s.step.Needs, name)
		})
	}},
	{"with", func(b *builder, n *node, s *stepDraft) { s.step.With = s.template(b, "with", n) }},
	{"stdin", func(b *builder, n *node, s *stepDraft) {
		if n.kind != text {
			b.wrongKind(n, "an expression that gives a buffer, or a string", "")
			return
		}
		s.step.Stdin = s.template(b, "stdin", n)
	}},
	{"when", func(b *builder, n *node, s *stepDraft) {
		if n.kind != boolean && !isExpression(n) {
			b.wrongKind(n, "one expression, or true or false", expressionHint(n))
			s.spoil(s.step.Name, "when")
		}
		s.step.When = s.template(b, "when", n)
	}},
	{"foreach", func(b *builder, n *node, s *stepDraft) { b.foreach(s, n) }},
	{"concurrency", func(b *builder, n *node, s *stepDraft) {
		s.step.Concurrency = b.integer(n, 0, maxParallel)
		s.mark(s.step.Name, "concurrency", n.at)
	}},
	{"retry", func(b *builder, n *node, s *stepDraft) {
		s.step.Retry = flow.DefaultRetry
		s.mark(s.step.Name, "retry", n.at)
		what := "retry of step " + s.step.Name
		if readFields(b, n, what, retryFields, &s.step.Retry) && n.get("max") == nil {
			b.errorf(n.at, "add `max: 3`", "%s has no max", what)
		}
	}},
	{"timeout", func(b *builder, n *node, s *stepDraft) {
		s.step.Timeout = b.duration(n, minTimeout, maxRunTime)
		s.mark(s.step.Name, "timeout", n.at)
	}},
	{"catch", func(b *builder, n *node, s *stepDraft) {
		s.step.Catch = &flow.Catch{}
		s.mark(s.step.Name, "catch", n.at)
		readFields(b, n, "catch of step "+s.step.Name, catchFields, s)
	}},
	{"wait", func(b *builder, n *node, s *stepDraft) {
		if isExpression(n) {
			s.step.Wait = s.template(b, "wait", n)
			return
		}
		s.mark(s.step.Name, "wait", n.at)
		s.spoil(s.step.Name, "wait")
		s.step.Wait = flow.Literal(b.duration(n, 0, maxRunTime).String())
	}},
	{"signal", func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "signal", n.at)
		if n.kind == mapping {
			readFields(b, n, "signal of step "+s.step.Name, signalFields, s)
			return
		}
		s.step.Signal.Name = b.text(n, "the name of a signal")
	}},
}

var signalFields = []field[stepDraft]{
	{"name", func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "signal", n.at)
		s.step.Signal.Name = b.text(n, "the name of a signal")
	}},
	{"timeout", func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "signal.timeout", n.at)
		s.step.Signal.Timeout = b.duration(n, minTimeout, maxRunTime)
	}},
}

var retryFields = []field[flow.Retry]{
	{"max", func(b *builder, n *node, r *flow.Retry) { r.Max = b.integer(n, 0, flow.MaxRetries) }},
	{"backoff", func(b *builder, n *node, r *flow.Retry) { r.Backoff = b.duration(n, 0, maxBackoff) }},
	{"factor", func(b *builder, n *node, r *flow.Retry) { r.Factor = b.float(n, 1, maxFactor) }},
	{"max_backoff", func(b *builder, n *node, r *flow.Retry) { r.MaxBackoff = b.duration(n, 0, maxBackoff) }},
	{"jitter", func(b *builder, n *node, r *flow.Retry) { r.Jitter = b.float(n, 0, 1) }},
}

var catchFields = []field[stepDraft]{
	{"value", func(b *builder, n *node, s *stepDraft) {
		s.step.Catch.Value = s.template(b, "catch.value", n)
	}},
	{"call", func(b *builder, n *node, s *stepDraft) { b.call(s, n, true) }},
	{"with", func(b *builder, n *node, s *stepDraft) {
		s.step.Catch.With = s.template(b, "catch.with", n)
	}},
}

// workflow reads one entry of workflows.
func (b *builder) workflow(e entry) {
	if !functionName.MatchString(e.name) {
		b.errorf(e.at, "use a-z, 0-9, - and _, beginning with a letter, at most 63", "workflow name %q is not allowed", shorten(e.name, 80))
	}
	d := &draft{
		name:    e.name,
		at:      e.at,
		flow:    &flow.Workflow{Name: e.name},
		outline: &Outline{Durability: DurabilityJournal, Pos: e.at.Pos, Steps: map[string]Pos{}},
		places:  map[string]map[string]span{},
		spoiled: map[string][]string{},

		expressions: map[keyOf][]expressionSite{},
	}
	d.mark("", "", e.at)
	b.workflows = append(b.workflows, d)
	if !readFields(b, e.value, "workflow "+e.name, workflowFields, d) {
		return
	}
	b.app.Workflows[e.name] = d.flow
	b.app.Outlines[e.name] = d.outline
}

// step reads one entry of steps. The step joins the workflow even when parts
// of it are wrong, so that others may need it.
func (b *builder) step(d *draft, e entry) {
	step := flow.Step{Name: e.name}
	d.mark(e.name, "", e.at)
	d.outline.Steps[e.name] = e.at.Pos
	readFields(b, e.value, "step "+e.name, stepFields, &stepDraft{draft: d, step: &step})
	d.flow.Steps = append(d.flow.Steps, step)
}

// mark remembers where a key of a step is given.
func (d *draft) mark(step, key string, at span) {
	if d.places[step] == nil {
		d.places[step] = map[string]span{}
	}
	d.places[step][key] = at
}

// spoil remembers that a key's value has been found wrong, so that no second
// error is made of what stands in for it.
func (d *draft) spoil(step, key string) {
	d.spoiled[step] = append(d.spoiled[step], key)
}

// place finds where a key of a step is given, or what holds it.
func (d *draft) place(step, key string) span {
	for {
		if at, ok := d.places[step][key]; ok {
			return at
		}
		cut := strings.LastIndexAny(key, ".[")
		if cut < 0 {
			break
		}
		key = key[:cut]
	}
	if at, ok := d.places[step][""]; ok {
		return at
	}
	return d.at
}

// call reads the name of something to call. What it stands for is known when
// the whole file is read.
func (b *builder) call(s *stepDraft, n *node, catch bool) {
	name, key := b.text(n, "the name of a function or workflow"), "call"
	if catch {
		key = "catch.call"
	}
	s.mark(s.step.Name, key, n.at)
	if name != "" {
		s.calls = append(s.calls, callSite{name, n.at, len(s.flow.Steps), catch})
	}
}

// foreach reads a list, a number, an expression, or a mapping of names to
// lists and expressions.
func (b *builder) foreach(s *stepDraft, n *node) {
	const want = "a list, a number, an expression, or a mapping of names to lists"
	switch {
	case n.kind == number:
		b.integer(n, 0, flow.MaxWidth)
	case n.kind == list && len(n.items) > flow.MaxWidth:
		b.errorf(n.at, "", "foreach of step %s has more than %d items", s.step.Name, flow.MaxWidth)
	case n.kind == mapping:
		if len(n.entries) == 0 {
			b.wrongKind(n, want, "")
		}
		for _, e := range n.entries {
			if e.value.kind != list && !isExpression(e.value) {
				b.wrongKind(e.value, "a list, or an expression that gives one", expressionHint(e.value))
				s.spoil(s.step.Name, "foreach")
			}
		}
	case n.kind != list && !isExpression(n):
		b.wrongKind(n, want, expressionHint(n))
		s.spoil(s.step.Name, "foreach")
	}
	s.step.Foreach = s.template(b, "foreach", n)
}

// template reads a value with expressions of a step.
func (s *stepDraft) template(b *builder, key string, n *node) flow.Template {
	return b.template(s.draft, s.step.Name, key, n)
}
