package flow

import (
	"fmt"
	"slices"
)

// scope is what an expression sees.
type scope struct {
	frame *frame
	step  int   // whose expression it is, -1: the workflow's output
	item  *item // nil: the step as a whole
}

func (sc scope) path() string {
	switch {
	case sc.item != nil:
		return sc.item.path()
	case sc.step >= 0:
		return sc.frame.steps[sc.step].path()
	}
	return sc.frame.path()
}

// whole returns all of the scope as an object.
func (sc scope) whole() map[string]any {
	all := map[string]any{}
	for _, name := range Reserved {
		if v, ok := sc.get(name); ok {
			all[name] = v
		}
	}
	g := sc.frame.graph
	visible := g.order
	if sc.step >= 0 {
		visible = g.closure(sc.step)
	}
	for _, i := range visible {
		all[g.flow.Steps[i].Name] = sc.frame.steps[i].output
	}
	return all
}

// some returns the parts of the scope that have those names.
func (sc scope) some(names []string) map[string]any {
	part := make(map[string]any, len(names))
	for _, name := range names {
		if v, ok := sc.get(name); ok {
			part[name] = v
		}
	}
	return part
}

// get returns one part of the scope. A step's output is there for those steps
// only that need it, directly or not: whether another one has already run is
// chance.
func (sc scope) get(name string) (any, bool) {
	switch name {
	case "input":
		return sc.frame.input, true
	case "run":
		return sc.frame.run, true
	case "item":
		if sc.item != nil && sc.item.index >= 0 {
			return sc.item.value, true
		}
		return nil, false
	case "index":
		if sc.item != nil && sc.item.index >= 0 {
			return sc.item.index, true
		}
		return nil, false
	case "signal":
		if sc.item != nil && sc.item.step.def().Signal.Name != "" {
			return sc.item.signal, true
		}
		return nil, false
	case "error":
		if sc.item != nil && sc.item.catching != nil {
			return sc.item.errorValue(), true
		}
		return nil, false
	}
	g := sc.frame.graph
	i, known := g.index[name]
	if !known || sc.step >= 0 && !g.follows(sc.step, i) {
		return nil, false
	}
	return sc.frame.steps[i].output, true
}

// evaluation is an Evaluate that was not answered yet.
type evaluation struct {
	scope     scope
	templates []Template
	values    []any // of all expressions; those that were asked for are missing
	asked     []int // which are missing
	then      func(values []any, failure *Failure)
}

// evaluate gives then the values of the templates (nil for an absent one), or
// a failure: at once if all expressions are plain, otherwise when the rest of
// them have been evaluated elsewhere.
func (m *Machine) evaluate(sc scope, templates []Template, then func([]any, *Failure)) {
	e := &evaluation{scope: sc, templates: templates, then: then}
	var sources, reads []string
	whole := false
	for _, t := range templates {
		for i := range t.exprs {
			x := &t.exprs[i]
			v, err := any(nil), error(nil)
			if x.plain {
				v, err = sc.lookup(x)
			} else {
				e.asked = append(e.asked, len(e.values))
				sources = append(sources, x.Source)
				reads, whole = append(reads, x.reads...), whole || x.whole
			}
			if err != nil {
				then(nil, &Failure{Kind: KindExpression, Message: fmt.Sprintf("evaluate ${ %s }: %v", x.Source, err)})
				return
			}
			e.values = append(e.values, v)
		}
	}
	if len(sources) == 0 {
		then(e.render(), nil)
		return
	}
	m.lastEval++
	m.evals[m.lastEval] = e
	ask := Evaluate{ID: m.lastEval, Path: sc.path(), Expressions: sources}
	if whole {
		ask.Scope = sc.whole()
	} else {
		slices.Sort(reads)
		ask.Scope = sc.some(slices.Compact(reads))
	}
	m.emit(ask)
}

// lookup evaluates a plain expression.
func (sc scope) lookup(x *Expression) (any, error) {
	if x.whole {
		return lookup(sc.whole(), x.path)
	}
	v, _ := sc.get(x.path[0].key)
	return lookup(v, x.path[1:])
}

func (e *evaluation) answer(ev Evaluated) {
	switch {
	case ev.Err != "":
		e.then(nil, &Failure{Kind: KindExpression, Message: ev.Err})
	case len(ev.Values) != len(e.asked):
		e.then(nil, &Failure{Kind: KindExpression, Message: fmt.Sprintf("%d values for %d expressions", len(ev.Values), len(e.asked))})
	default:
		for i, at := range e.asked {
			e.values[at] = ev.Values[i]
		}
		e.then(e.render(), nil)
	}
}

func (e *evaluation) render() []any {
	out := make([]any, len(e.templates))
	values := e.values
	for i := range e.templates {
		t := &e.templates[i]
		if !t.IsZero() {
			out[i] = t.render(t.root, values[:len(t.exprs)])
		}
		values = values[len(t.exprs):]
	}
	return out
}
