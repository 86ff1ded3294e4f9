package flow

import (
	"fmt"
	"slices"
	"strings"
)

// A Graph is the order that the needs of a workflow's steps impose. Its
// methods list steps in topological order, steps of one level in the order of
// the file. A Graph is not safe for concurrent use.
type Graph struct {
	flow  *Workflow
	index map[string]int // of a step in flow.Steps
	needs [][]int        // of each step, in the order of the file
	next  [][]int        // the steps that need it
	order []int          // topological, by level
	level []int

	closures map[int][]bool // all that a step needs, made when it is asked for
}

// CycleError is a set of steps that wait for each other: each needs the next,
// and the last one the first.
type CycleError struct{ Names []string }

// Error implements error.
func (e *CycleError) Error() string {
	return "steps wait for each other: " + strings.Join(e.Names, " needs ") + " needs " + e.Names[0]
}

// An Edge leads from a step to one that needs it.
type Edge struct{ From, To string }

// NewGraph returns the graph of w. Repeated names and unknown needs are
// errors, and a cycle is a [*CycleError].
func NewGraph(w *Workflow) (*Graph, error) {
	n := len(w.Steps)
	g := &Graph{
		flow: w, index: make(map[string]int, n), needs: make([][]int, n), next: make([][]int, n),
		level: make([]int, n), closures: map[int][]bool{},
	}
	for i, s := range w.Steps {
		if _, dup := g.index[s.Name]; dup {
			return nil, fmt.Errorf("graph of workflow %s: two steps are called %q", w.Name, s.Name)
		}
		g.index[s.Name] = i
	}
	for i, s := range w.Steps {
		g.needs[i] = make([]int, 0, len(s.Needs))
		for _, name := range s.Needs {
			need, ok := g.index[name]
			if !ok {
				return nil, fmt.Errorf("graph of workflow %s: step %s needs %q, which is not a step", w.Name, s.Name, name)
			}
			g.needs[i] = append(g.needs[i], need)
			g.next[need] = append(g.next[need], i)
		}
	}
	return g, g.sort()
}

// sort finds order and level, one level at a time.
func (g *Graph) sort() error {
	left := make([]int, len(g.needs))
	var level []int
	for i, needs := range g.needs {
		if left[i] = len(needs); left[i] == 0 {
			level = append(level, i)
		}
	}
	for depth := 0; len(level) > 0; depth++ {
		var following []int
		for _, i := range level {
			g.level[i] = depth
			for _, j := range g.next[i] {
				if left[j]--; left[j] == 0 {
					following = append(following, j)
				}
			}
		}
		g.order = append(g.order, level...)
		slices.Sort(following)
		level = following
	}
	if len(g.order) < len(g.needs) {
		return g.cycle(left)
	}
	return nil
}

// cycle names a cycle among the steps that were never free of needs. Each of
// those needs another of them, so following needs must come round.
func (g *Graph) cycle(left []int) error {
	at := slices.IndexFunc(left, func(n int) bool { return n > 0 })
	seen := map[int]int{}
	var names []string
	for {
		if first, ok := seen[at]; ok {
			return &CycleError{names[first:]}
		}
		seen[at] = len(names)
		names = append(names, g.flow.Steps[at].Name)
		at = g.needs[at][slices.IndexFunc(g.needs[at], func(n int) bool { return left[n] > 0 })]
	}
}

// Steps returns all names.
func (g *Graph) Steps() []string { return g.names(g.order) }

// Step returns the step of that name, or nil.
func (g *Graph) Step(name string) *Step {
	if i, ok := g.index[name]; ok {
		return &g.flow.Steps[i]
	}
	return nil
}

// Edges returns the edges, grouped by the step that they lead to.
func (g *Graph) Edges() []Edge {
	var edges []Edge
	for _, to := range g.order {
		for _, from := range g.needs[to] {
			edges = append(edges, Edge{g.flow.Steps[from].Name, g.flow.Steps[to].Name})
		}
	}
	return edges
}

// Levels groups the steps: those of level 0 need nothing, those of level n
// need at least one of level n-1 and none of level n or above.
func (g *Graph) Levels() [][]string {
	var levels [][]string
	for _, i := range g.order {
		if g.level[i] == len(levels) {
			levels = append(levels, nil)
		}
		levels[g.level[i]] = append(levels[g.level[i]], g.flow.Steps[i].Name)
	}
	return levels
}

// Sinks returns the steps that nothing needs, in the order of the file. Their
// outputs are the run's: the output of the only one, or an object of them.
func (g *Graph) Sinks() []string { return g.names(g.sinks()) }

func (g *Graph) sinks() []int {
	var sinks []int
	for i, next := range g.next {
		if len(next) == 0 {
			sinks = append(sinks, i)
		}
	}
	return sinks
}

// Closure returns all that a step needs, directly or not.
func (g *Graph) Closure(step string) []string {
	i, ok := g.index[step]
	if !ok {
		return nil
	}
	return g.names(g.closure(i))
}

func (g *Graph) closure(step int) []int {
	in := g.closureSet(step)
	var all []int
	for _, i := range g.order {
		if in[i] {
			all = append(all, i)
		}
	}
	return all
}

func (g *Graph) closureSet(step int) []bool {
	if in, ok := g.closures[step]; ok {
		return in
	}
	in := make([]bool, len(g.needs))
	todo := slices.Clone(g.needs[step])
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !in[i] {
			in[i] = true
			todo = append(todo, g.needs[i]...)
		}
	}
	const kept = 1024 // enough for real workflows, and no square of a huge one
	if len(g.closures) == kept {
		clear(g.closures)
	}
	g.closures[step] = in
	return in
}

// follows reports whether step needs other, directly or not.
func (g *Graph) follows(step, other int) bool {
	const few = 16
	if g.level[other] >= g.level[step] {
		return false
	}
	if len(g.needs[step]) <= few && slices.Contains(g.needs[step], other) {
		return true
	}
	return g.closureSet(step)[other]
}

// CriticalPath returns the chain of steps with the largest sum of weights,
// and that sum. Weights are not negative.
func (g *Graph) CriticalPath(weight func(step string) float64) ([]string, float64) {
	cost := make([]float64, len(g.needs))
	from := make([]int, len(g.needs))
	last := -1
	for _, i := range g.order {
		from[i] = -1
		for _, need := range g.needs[i] {
			if from[i] < 0 || cost[need] > cost[from[i]] {
				from[i] = need
			}
		}
		cost[i] = weight(g.flow.Steps[i].Name)
		if from[i] >= 0 {
			cost[i] += cost[from[i]]
		}
		if last < 0 || cost[i] > cost[last] {
			last = i
		}
	}
	if last < 0 {
		return nil, 0
	}
	var path []int
	for i := last; i >= 0; i = from[i] {
		path = append(path, i)
	}
	slices.Reverse(path)
	return g.names(path), cost[last]
}

func (g *Graph) names(steps []int) []string {
	names := make([]string, len(steps))
	for i, step := range steps {
		names[i] = g.flow.Steps[step].Name
	}
	return names
}
