package app

import (
	"slices"
	"strings"

	"github.com/weft-run/weft/internal/flow"
)

// checkNames checks what spans several values: it resolves what steps and
// triggers call, and has flow check each workflow's graph.
func (b *builder) checkNames() {
	targets := map[string]flow.TargetKind{}
	for _, f := range b.functions {
		targets[f.name] = flow.Function
	}
	for _, d := range b.workflows {
		// Where both exist steps call the function, and the workflow is there
		// to be run.
		if _, function := targets[d.name]; !function {
			targets[d.name] = flow.SubWorkflow
		}
	}
	for _, d := range b.workflows {
		b.resolve(d, targets)
		b.checkGraph(d, targets)
	}
	b.checkRecursion(targets)
	b.checkServices()
	b.checkTriggers()
}

// resolve says of each call what kind of thing it calls.
func (b *builder) resolve(d *draft, targets map[string]flow.TargetKind) {
	for _, c := range d.calls {
		target := flow.Target{Kind: targets[c.name], Name: c.name}
		if target.Kind == "" {
			target.Kind = flow.Function
			if strings.Contains(c.name, ".") {
				target.Kind = flow.ServiceMethod
				targets[c.name] = flow.ServiceMethod
				b.method(d.name, c)
			}
		}
		step := &d.flow.Steps[c.step]
		if c.catch {
			step.Catch.Call = target
		} else {
			step.Call = target
		}
	}
}

// checkGraph puts what flow finds wrong with a workflow where it is written.
func (b *builder) checkGraph(d *draft, targets map[string]flow.TargetKind) {
	taken := map[Pos]bool{}
	for _, e := range b.Errors() {
		taken[Pos{Line: e.Line, Column: e.Column}] = true
	}
	for _, p := range flow.Check(d.flow, targets) {
		if slices.ContainsFunc(d.spoiled[p.Step], func(key string) bool { return strings.HasPrefix(p.Key, key) }) {
			continue
		}
		at := d.place(p.Step, p.Key)
		for _, x := range d.expressions[keyOf{p.Step, p.Key}] {
			offset, width, found := findName(x.text, p.Message)
			at = b.spanAt(x, offset, width)
			if found {
				break
			}
		}
		if taken[at.Pos] {
			continue
		}
		taken[at.Pos] = true
		what := "step " + p.Step
		if p.Step == "" {
			what = "workflow " + d.name
		}
		b.Errorf(at, p.Hint, "%s: %s", what, p.Message)
	}
}

// checkRecursion refuses workflows that call themselves, directly or through
// others: such a run would have no end that is known before it starts.
func (b *builder) checkRecursion(targets map[string]flow.TargetKind) {
	drafts := map[string]*draft{}
	for _, d := range b.workflows {
		drafts[d.name] = d
	}
	done := map[string]bool{}
	var path []string
	var visit func(d *draft)
	visit = func(d *draft) {
		path = append(path, d.name)
		for _, c := range d.calls {
			next := drafts[c.name]
			if next == nil || done[c.name] || targets[c.name] != flow.SubWorkflow {
				continue
			}
			if i := slices.Index(path, c.name); i >= 0 {
				cycle := append(slices.Clone(path[i:]), c.name)
				b.Errorf(c.at, "use foreach or retry to repeat", "workflow calls itself: %s", strings.Join(cycle, " → "))
				continue
			}
			visit(next)
		}
		path = path[:len(path)-1]
		done[d.name] = true
	}
	for _, d := range b.workflows {
		if !done[d.name] {
			visit(d)
		}
	}
}
