package workload

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Options say what an app is made of.
type Options struct {
	App string
	// Functions are the attributes of functions in the app file, by name: of all
	// in the list Functions, and of Bulk where workflows shall call it. File adds
	// "concurrency".
	Functions map[string]map[string]any
	// Retention of the runs of every workflow, such as "7d".
	Retention string
	// Extra are further workflows, by name, as the app file has them.
	Extra map[string]any
}

// Signal is what steps wait for that wait for a signal. Its value is
// SignalValue.
const Signal, SignalValue = "go", "yes"

// File makes an app file with the workflows w0, w1, …, at most Workflows of them,
// by chance. Runs take {"flag": BOOLEAN, "n": NUMBER} and succeed, once
// whatever signals they wait for have come.
func File(rng *rand.Rand, o Options) []byte {
	functions := map[string]any{}
	for _, name := range append(slices.Clone(Functions), Bulk) {
		attributes := o.Functions[name]
		if attributes == nil {
			continue
		}
		f := map[string]any{"concurrency": 1 + rng.IntN(3)}
		for k, v := range attributes {
			f[k] = v
		}
		functions[name] = f
	}
	for name, attributes := range o.Functions {
		if functions[name] == nil {
			functions[name] = attributes
		}
	}
	workflows := map[string]any{}
	for i := range 1 + rng.IntN(Workflows) {
		g := generator{rng: rng, subs: i, bulk: functions[Bulk] != nil}
		w := g.workflow()
		w["retention"] = o.Retention
		workflows[fmt.Sprintf("w%d", i)] = w
	}
	for name, w := range o.Extra {
		workflows[name] = w
	}
	file, err := json.MarshalIndent(map[string]any{"name": o.App, "functions": functions, "workflows": workflows}, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("workload: %v", err)) // it is made of what JSON has
	}
	return file
}

// Workflows is how many there are at most in an app.
const Workflows = 3

// generator makes one workflow. It may call those made before it.
type generator struct {
	rng  *rand.Rand
	subs int
	bulk bool // there is Bulk
}

// result is what later steps may do with a step's output.
type result struct {
	name  string
	kind  string   // of the function, or "" for others
	plain bool     // it has one output: no foreach, not skipped
	taken bool     // its buffer has a taker
	maybe bool     // it may be skipped
	seen  []string // steps that look at its buffer
}

// publishes reports whether the output is a buffer.
func (r *result) publishes() bool { return r.kind == Emit || r.kind == Bulk }

func (g *generator) workflow() map[string]any {
	w := map[string]any{}
	if g.rng.IntN(8) == 0 {
		w["timeout"] = "700h"
	}
	var made []*result
	steps := map[string]any{}
	for i := range 1 + g.rng.IntN(7) {
		s, r := g.step(fmt.Sprintf("s%d", i), made)
		steps[r.name] = s
		made = append(made, r)
	}
	w["steps"] = steps
	return w
}

// step makes a step of that name, after those that are made.
func (g *generator) step(name string, made []*result) (map[string]any, *result) {
	s := map[string]any{"retry": map[string]any{"max": 10, "backoff": "5ms", "factor": 2, "jitter": 0.2}}
	r := &result{name: name, plain: true}
	var input *result
	var needs []string
	if len(made) > 0 && g.rng.IntN(4) > 0 {
		input = made[g.rng.IntN(len(made))]
		needs = []string{input.name}
		for _, other := range made {
			if other != input && g.rng.IntN(4) == 0 {
				needs = append(needs, other.name)
			}
		}
	}
	switch {
	case input != nil && input.publishes() && input.plain && !input.taken:
		r.kind = Look
		if g.rng.IntN(2) == 0 { // the others have to be done with it
			r.kind, input.taken = Eat, true
			for _, other := range input.seen {
				if !slices.Contains(needs, other) {
					needs = append(needs, other)
				}
			}
		}
		input.seen = append(input.seen, name)
		s["stdin"] = "${ ." + input.name + " }"
	case input != nil && input.kind == List && input.plain:
		s["foreach"] = "${ ." + input.name + ".list }"
		s["concurrency"] = g.rng.IntN(3)
		r.plain = false
		r.kind = [...]string{Mix, Send, Emit, Flaky}[g.rng.IntN(4)]
	case g.subs > 0 && g.rng.IntN(5) == 0:
		s["call"] = fmt.Sprintf("w%d", g.rng.IntN(g.subs))
	default:
		r.kind = [...]string{Mix, Mix, Send, List, Emit, Emit, Flaky, Fail}[g.rng.IntN(8)]
		if g.bulk && r.kind == Emit && g.rng.IntN(3) == 0 {
			r.kind = Bulk
		}
	}
	if r.kind != "" {
		s["call"] = r.kind
	}
	if r.kind == Fail {
		s["retry"] = map[string]any{"max": g.rng.IntN(3), "backoff": "5ms"}
		s["catch"] = g.catch()
	}
	if len(needs) > 0 {
		s["needs"] = needs
	}
	live := len(needs) == 0
	for _, other := range made {
		live = live || !other.maybe && slices.Contains(needs, other.name)
	}
	r.maybe = !live
	if s["stdin"] == nil && g.rng.IntN(2) == 0 {
		with := map[string]any{"in": "${ .input }"}
		for _, need := range needs {
			with[need] = "${ ." + need + " }"
		}
		if g.rng.IntN(3) == 0 {
			with["jq"] = "${ .input | tostring | length }" // what a jq program gives has to be small
		}
		s["with"] = with
	}
	if g.rng.IntN(6) == 0 {
		s["when"] = "${ .input.flag }"
		r.maybe = true
	}
	r.plain = r.plain && !r.maybe
	if g.rng.IntN(6) == 0 {
		s["wait"] = fmt.Sprintf("%dms", 1+g.rng.IntN(200))
	}
	if g.rng.IntN(10) == 0 && r.kind != "" { // a workflow's input has to be an object
		s["signal"] = Signal
	}
	return s, r
}

// catch stands in for a step that fails.
func (g *generator) catch() map[string]any {
	if g.rng.IntN(2) == 0 {
		return map[string]any{"value": map[string]any{"d": "caught", "kind": "${ .error.kind }"}}
	}
	return map[string]any{"call": Mix, "with": map[string]any{"kind": "${ .error.kind }", "step": "${ .error.step }"}}
}
