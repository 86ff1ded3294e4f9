package app

import (
	"slices"
	"strings"

	"github.com/itchyny/gojq"

	"github.com/weft-run/weft/internal/flow"
	"github.com/weft-run/weft/internal/yamlfile"
)

// triggerScope names what the expressions of a trigger see.
var triggerScope = map[TriggerKind][]string{
	TriggerHTTP:  {"body", "headers", "query", "path", "method"},
	TriggerCron:  nil,
	TriggerEvent: {"event"},
}

// triggerTemplate reads a value with expressions of a trigger, and checks
// what these refer to.
func (b *builder) triggerTemplate(n *node, key string, kind TriggerKind) flow.Template {
	d := &draft{places: map[string]map[string]span{}, spoiled: map[string][]string{}, expressions: map[keyOf][]expressionSite{}}
	t := b.template(d, "", key, n)
	known := triggerScope[kind]
	for _, sites := range d.expressions {
		for _, x := range sites {
			if len(known) == 0 {
				b.Errorf(b.spanAt(x, 0, len(x.text)), "write a constant, or start the run by an http or event trigger", "%s of a %s trigger is constant: there is nothing for an expression to refer to", key, kind)
				continue
			}
			for _, name := range reads(x.text) {
				if slices.Contains(known, name) {
					continue
				}
				offset, width, _ := findName(x.text, "."+name+" ")
				b.Errorf(b.spanAt(x, offset, width), yamlfile.DidYouMean(name, known), "there is no .%s in %s of a trigger with %s", yamlfile.Shorten(name, 60), key, kind)
			}
		}
	}
	return t
}

// reads names the fields that a jq program surely takes from its input. What
// it finds out while it runs, and what functions do, is not followed.
func reads(program string) []string {
	q, err := gojq.Parse(program)
	if err != nil {
		return nil
	}
	var r reader
	r.query(q)
	slices.Sort(r.names)
	return slices.Compact(r.names)
}

// reader collects the names of fields of the scope.
type reader struct{ names []string }

// query visits what of a query is given the scope itself.
func (r *reader) query(q *gojq.Query) {
	if q == nil || len(q.FuncDefs) > 0 {
		return
	}
	r.term(q.Term)
	r.query(q.Left)
	// What stands behind a pipe is given what comes out of it, but after
	// `X as $x |` the scope is still in sight.
	if q.Op != gojq.OpPipe || len(q.Patterns) > 0 {
		r.query(q.Right)
	}
}

func (r *reader) term(t *gojq.Term) {
	if t == nil {
		return
	}
	r.index(t.Index)
	if t.Type == gojq.TermTypeIdentity && len(t.SuffixList) > 0 {
		r.index(t.SuffixList[0].Index)
	}
	r.query(t.Query)
	if t.Unary != nil {
		r.term(t.Unary.Term)
	}
	if t.Array != nil {
		r.query(t.Array.Query)
	}
	if t.Str != nil {
		for _, q := range t.Str.Queries {
			r.query(q)
		}
	}
	if t.Object != nil {
		for _, kv := range t.Object.KeyVals {
			r.query(kv.KeyQuery)
			r.query(kv.Val)
			if kv.Val == nil && kv.Key != "" && !strings.HasPrefix(kv.Key, "$") {
				r.names = append(r.names, kv.Key) // {body} is {body: .body}
			}
		}
	}
	if t.If != nil {
		r.query(t.If.Cond)
		r.query(t.If.Then)
		r.query(t.If.Else)
		for _, e := range t.If.Elif {
			r.query(e.Cond)
			r.query(e.Then)
		}
	}
	if t.Try != nil {
		r.query(t.Try.Body)
	}
	if t.Reduce != nil {
		r.query(t.Reduce.Query)
		r.query(t.Reduce.Start)
	}
	if t.Foreach != nil {
		r.query(t.Foreach.Query)
		r.query(t.Foreach.Start)
	}
}

func (r *reader) index(x *gojq.Index) {
	switch {
	case x == nil || x.IsSlice:
	case x.Name != "":
		r.names = append(r.names, x.Name)
	case x.Str != nil && x.Str.Queries == nil:
		r.names = append(r.names, x.Str.Str)
	}
}
