package app

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/yamlfile"
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
	{Name: "description", Read: func(b *builder, n *node, d *draft) { d.outline.Description = b.Text(n, "a string") }},
	{Name: "input", Read: func(b *builder, n *node, d *draft) { d.outline.Input, d.outline.schema = b.inputSchema(n) }},
	{Name: "timeout", Read: func(b *builder, n *node, d *draft) {
		d.flow.Timeout = b.Duration(n, minTimeout, maxRunTime)
		d.mark("", "timeout", n.At)
	}},
	{Name: "durability", Read: func(b *builder, n *node, d *draft) {
		d.outline.Durability = b.Choice(n, "durability", DurabilityJournal, DurabilityNone)
	}},
	{Name: "retention", Read: func(b *builder, n *node, d *draft) { d.outline.Retention = b.Duration(n, time.Second, maxKept) }},
	{Name: "steps", Read: func(b *builder, n *node, d *draft) {
		if n.Kind != yamlfile.Mapping {
			d.spoil("", "steps")
		}
		b.Each(n, "steps", maxSteps, func(e entry) { b.step(d, e) })
	}},
	{Name: "output", Null: true, Read: func(b *builder, n *node, d *draft) {
		d.flow.Output = b.template(d, "", "output", n)
	}},
}

var stepFields = []field[stepDraft]{
	{Name: "call", Read: func(b *builder, n *node, s *stepDraft) { b.call(s, n, false) }},
	{Name: "needs", Read: func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "needs", n.At)
		b.List(n, "a list of steps", func(item *node) {
			name := b.Text(item, "the name of a step")
			s.mark(s.step.Name, "needs["+strconv.Itoa(len(s.step.Needs))+"]", item.At)
			s.step.Needs = append(s.step.Needs, name)
		})
	}},
	{Name: "with", Null: true, Read: func(b *builder, n *node, s *stepDraft) { s.step.With = s.template(b, "with", n) }},
	{Name: "stdin", Read: func(b *builder, n *node, s *stepDraft) {
		if n.Kind != yamlfile.String {
			b.WrongKind(n, "an expression that gives a buffer, or a string", "")
			return
		}
		s.step.Stdin = s.template(b, "stdin", n)
	}},
	{Name: "when", Read: func(b *builder, n *node, s *stepDraft) {
		if n.Kind != yamlfile.Boolean && !isExpression(n) {
			b.WrongKind(n, "one expression, or true or false", expressionHint(n))
			s.spoil(s.step.Name, "when")
		}
		s.step.When = s.template(b, "when", n)
	}},
	{Name: "foreach", Read: func(b *builder, n *node, s *stepDraft) { b.foreach(s, n) }},
	{Name: "concurrency", Read: func(b *builder, n *node, s *stepDraft) {
		s.step.Concurrency = b.Integer(n, 0, maxParallel)
		s.mark(s.step.Name, "concurrency", n.At)
	}},
	{Name: "retry", Read: func(b *builder, n *node, s *stepDraft) {
		s.step.Retry = flow.DefaultRetry
		s.mark(s.step.Name, "retry", n.At)
		what := "retry of step " + s.step.Name
		if yamlfile.ReadFields(b, n, what, retryFields, &s.step.Retry) && n.Get("max") == nil {
			b.Errorf(n.At, "add `max: 3`", "%s has no max", what)
		}
	}},
	{Name: "timeout", Read: func(b *builder, n *node, s *stepDraft) {
		s.step.Timeout = b.Duration(n, minTimeout, maxRunTime)
		s.mark(s.step.Name, "timeout", n.At)
	}},
	{Name: "catch", Read: func(b *builder, n *node, s *stepDraft) {
		s.step.Catch = &flow.Catch{}
		s.mark(s.step.Name, "catch", n.At)
		yamlfile.ReadFields(b, n, "catch of step "+s.step.Name, catchFields, s)
	}},
	{Name: "wait", Read: func(b *builder, n *node, s *stepDraft) {
		if isExpression(n) {
			s.step.Wait = s.template(b, "wait", n)
			return
		}
		s.mark(s.step.Name, "wait", n.At)
		s.spoil(s.step.Name, "wait")
		s.step.Wait = flow.Literal(b.Duration(n, 0, maxRunTime).String())
	}},
	{Name: "signal", Read: func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "signal", n.At)
		if n.Kind == yamlfile.Mapping {
			yamlfile.ReadFields(b, n, "signal of step "+s.step.Name, signalFields, s)
			return
		}
		s.step.Signal.Name = b.Text(n, "the name of a signal")
	}},
}

var signalFields = []field[stepDraft]{
	{Name: "name", Read: func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "signal", n.At)
		s.step.Signal.Name = b.Text(n, "the name of a signal")
	}},
	{Name: "timeout", Read: func(b *builder, n *node, s *stepDraft) {
		s.mark(s.step.Name, "signal.timeout", n.At)
		s.step.Signal.Timeout = b.Duration(n, minTimeout, maxRunTime)
	}},
}

var retryFields = []field[flow.Retry]{
	{Name: "max", Read: func(b *builder, n *node, r *flow.Retry) { r.Max = b.Integer(n, 0, flow.MaxRetries) }},
	{Name: "backoff", Read: func(b *builder, n *node, r *flow.Retry) { r.Backoff = b.Duration(n, 0, maxBackoff) }},
	{Name: "factor", Read: func(b *builder, n *node, r *flow.Retry) { r.Factor = b.Float(n, 1, maxFactor) }},
	{Name: "max_backoff", Read: func(b *builder, n *node, r *flow.Retry) { r.MaxBackoff = b.Duration(n, 0, maxBackoff) }},
	{Name: "jitter", Read: func(b *builder, n *node, r *flow.Retry) { r.Jitter = b.Float(n, 0, 1) }},
}

var catchFields = []field[stepDraft]{
	{Name: "value", Null: true, Read: func(b *builder, n *node, s *stepDraft) {
		s.step.Catch.Value = s.template(b, "catch.value", n)
	}},
	{Name: "call", Read: func(b *builder, n *node, s *stepDraft) { b.call(s, n, true) }},
	{Name: "with", Null: true, Read: func(b *builder, n *node, s *stepDraft) {
		s.step.Catch.With = s.template(b, "catch.with", n)
	}},
}

// workflow reads one entry of workflows.
func (b *builder) workflow(e entry) {
	if !functionName.MatchString(e.Name) {
		b.Errorf(e.At, "use a-z, 0-9, - and _, beginning with a letter, at most 63", "workflow name %q is not allowed", yamlfile.Shorten(e.Name, 80))
	}
	d := &draft{
		name:    e.Name,
		at:      e.At,
		flow:    &flow.Workflow{Name: e.Name},
		outline: &Outline{Durability: DurabilityJournal, Pos: e.At.Pos, Steps: map[string]Pos{}},
		places:  map[string]map[string]span{},
		spoiled: map[string][]string{},

		expressions: map[keyOf][]expressionSite{},
	}
	d.mark("", "", e.At)
	b.workflows = append(b.workflows, d)
	if !yamlfile.ReadFields(b, e.Value, "workflow "+e.Name, workflowFields, d) {
		return
	}
	b.app.Workflows[e.Name] = d.flow
	b.app.Outlines[e.Name] = d.outline
}

// step reads one entry of steps. The step joins the workflow even when parts
// of it are wrong, so that others may need it.
func (b *builder) step(d *draft, e entry) {
	step := flow.Step{Name: e.Name}
	d.mark(e.Name, "", e.At)
	d.outline.Steps[e.Name] = e.At.Pos
	yamlfile.ReadFields(b, e.Value, "step "+e.Name, stepFields, &stepDraft{draft: d, step: &step})
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
	name, key := b.Text(n, "the name of a function or workflow"), "call"
	if catch {
		key = "catch.call"
	}
	s.mark(s.step.Name, key, n.At)
	if name != "" {
		s.calls = append(s.calls, callSite{name, n.At, len(s.flow.Steps), catch})
	}
}

// foreach reads a list, a number, an expression, or a mapping of names to
// lists and expressions.
func (b *builder) foreach(s *stepDraft, n *node) {
	const want = "a list, a number, an expression, or a mapping of names to lists"
	switch {
	case n.Kind == yamlfile.Number:
		b.Integer(n, 0, flow.MaxWidth)
	case n.Kind == yamlfile.List && len(n.Items) > flow.MaxWidth:
		b.Errorf(n.At, "", "foreach of step %s has more than %d items", s.step.Name, flow.MaxWidth)
	case n.Kind == yamlfile.Mapping:
		if len(n.Entries) == 0 {
			b.WrongKind(n, want, "")
		}
		for _, e := range n.Entries {
			if e.Value.Kind != yamlfile.List && !isExpression(e.Value) {
				b.WrongKind(e.Value, "a list, or an expression that gives one", expressionHint(e.Value))
				s.spoil(s.step.Name, "foreach")
			}
		}
	case n.Kind != yamlfile.List && !isExpression(n):
		b.WrongKind(n, want, expressionHint(n))
		s.spoil(s.step.Name, "foreach")
	}
	s.step.Foreach = s.template(b, "foreach", n)
}

// template reads a value with expressions of a step.
func (s *stepDraft) template(b *builder, key string, n *node) flow.Template {
	return b.template(s.draft, s.step.Name, key, n)
}
