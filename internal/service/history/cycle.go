package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// edge leads to a transaction that comes later.
type edge struct {
	to   int
	kind dependency
	why  string
}

type dependency uint8

const (
	ww dependency = 1 << iota
	wr
	rw
	rt
)

func (d dependency) String() string {
	return map[dependency]string{ww: "ww", wr: "wr", rw: "rw", rt: "rt"}[d]
}

// cycles looks for cycles, of few kinds of edges first.
func (c *checker) cycles() {
	g := c.dependencies()
	reported := map[int]bool{} // transactions that are in a cycle already
	for _, test := range []struct {
		kind  Kind
		rest  dependency // what the way back may consist of
		first dependency // what the cycle has at least one of
	}{
		{G0, ww, ww},
		{G1c, ww | wr, wr},
		{GSingle, ww | wr, rw},
		{G2, ww | wr | rw, rw},
		{G0.RealTime(), ww | rt, ww},
		{G1c.RealTime(), ww | wr | rt, wr},
		{GSingle.RealTime(), ww | wr | rt, rw},
		{G2.RealTime(), ww | wr | rw | rt, rw},
	} {
		component := g.components(test.rest | test.first)
		for from, edges := range g {
			for _, e := range edges {
				if e.kind != test.first || component[from] != component[e.to] || reported[from] || reported[e.to] {
					continue
				}
				if way := g.way(e.to, from, test.rest); way != nil {
					c.report(test.kind, from, append([]edge{e}, way...), reported)
				}
			}
		}
	}
}

// report notes a cycle.
func (c *checker) report(k Kind, from int, cycle []edge, reported map[int]bool) {
	var list []int
	var text []string
	for _, e := range cycle {
		list = append(list, from)
		text = append(text, fmt.Sprintf("%d -%v-> %d (%s)", from, e.kind, e.to, e.why))
		reported[from] = true
		from = e.to
	}
	c.add(k, strings.Join(text, ", "), list...)
}

// graph is the edges from each transaction.
type graph [][]edge

func (g graph) add(from, to int, kind dependency, why string) {
	if from != to {
		g[from] = append(g[from], edge{to, kind, why})
	}
}

// dependencies makes the graph of transactions that have happened.
func (c *checker) dependencies() graph {
	g := make(graph, len(c.all))
	for _, l := range c.lists {
		happened := func(v int) (int, bool) {
			w, ok := c.writer[l.name][v]
			return w, ok && !c.all[w].Aborted
		}
		for i := 1; i < len(l.longest); i++ {
			a, ok := happened(l.longest[i-1])
			b, also := happened(l.longest[i])
			if ok && also {
				g.add(a, b, ww, fmt.Sprintf("%s has %d, then %d", l.name, l.longest[i-1], l.longest[i]))
			}
		}
		if n := len(l.longest); n > 0 {
			if a, ok := happened(l.longest[n-1]); ok {
				for _, v := range l.unseen {
					g.add(a, c.writer[l.name][v], ww, fmt.Sprintf("%s has %d, and later %d", l.name, l.longest[n-1], v))
				}
			}
		}
	}
	for i, t := range c.all {
		if t.Aborted {
			continue
		}
		appended := map[string]bool{}
		for _, o := range t.Ops {
			if o.Value != 0 {
				appended[o.List] = true
			} else if !appended[o.List] { // what follows its own appends says no more
				c.depend(g, i, o)
			}
		}
	}
	c.inTime(g)
	return g
}

// depend adds the edges of a read.
func (c *checker) depend(g graph, i int, o Op) {
	l, n := c.lists[o.List], len(o.Read)
	if n > 0 {
		if w, ok := c.writer[o.List][o.Read[n-1]]; ok && !c.all[w].Aborted {
			g.add(w, i, wr, fmt.Sprintf("%s is read with %d", o.List, o.Read[n-1]))
		}
	}
	if n < len(l.longest) {
		if w, ok := c.writer[o.List][l.longest[n]]; ok && !c.all[w].Aborted {
			g.add(i, w, rw, fmt.Sprintf("%s is read without %d", o.List, l.longest[n]))
		}
		return
	}
	for _, v := range l.unseen {
		g.add(i, c.writer[o.List][v], rw, fmt.Sprintf("%s is read without %d", o.List, v))
	}
}

// inTime adds edges from transactions that had ended to those that began later. Edges
// that follow from others are left out: what is latest is told by those that had ended
// and that no other one that had ended came after.
func (c *checker) inTime(g graph) {
	var begins, ends []int
	for i, t := range c.all {
		if !t.Aborted {
			begins, ends = append(begins, i), append(ends, i)
		}
	}
	slices.SortFunc(begins, func(a, b int) int { return cmp.Compare(c.all[a].Begin, c.all[b].Begin) })
	slices.SortFunc(ends, func(a, b int) int { return cmp.Compare(c.all[a].End, c.all[b].End) })
	var latest []int
	for _, b := range begins {
		for len(ends) > 0 && c.all[ends[0]].End < c.all[b].Begin {
			e := ends[0]
			ends = ends[1:]
			latest = append(slices.DeleteFunc(latest, func(l int) bool { return c.all[l].End < c.all[e].Begin }), e)
		}
		for _, l := range latest {
			g.add(l, b, rt, "it had ended before")
		}
	}
}

// way finds a short way along edges of some kinds.
func (g graph) way(from, to int, kinds dependency) []edge {
	type step struct {
		at, before int // before: index of the step that led here
		by         edge
	}
	steps := []step{{at: from, before: -1}}
	seen := map[int]bool{from: true}
	for n := 0; n < len(steps); n++ {
		if steps[n].at == to {
			var way []edge
			for i := n; steps[i].before >= 0; i = steps[i].before {
				way = append(way, steps[i].by)
			}
			slices.Reverse(way)
			return way
		}
		for _, e := range g[steps[n].at] {
			if e.kind&kinds != 0 && !seen[e.to] {
				seen[e.to] = true
				steps = append(steps, step{e.to, n, e})
			}
		}
	}
	return nil
}

// components numbers the strongly connected components along edges of some kinds
// (Tarjan, Depth-First Search and Linear Graph Algorithms, 1972), without recursion.
func (g graph) components(kinds dependency) []int {
	n := len(g)
	number, low, component := make([]int, n), make([]int, n), make([]int, n)
	onStack := make([]bool, n)
	var stack []int
	count, components := 0, 0
	type frame struct{ at, next int }
	for root := range n {
		if number[root] != 0 {
			continue
		}
		frames := []frame{{at: root}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if f.next == 0 {
				count++
				number[f.at], low[f.at] = count, count
				stack = append(stack, f.at)
				onStack[f.at] = true
			}
			if f.next < len(g[f.at]) {
				e := g[f.at][f.next]
				f.next++
				switch {
				case e.kind&kinds == 0:
				case number[e.to] == 0:
					frames = append(frames, frame{at: e.to})
				case onStack[e.to]:
					low[f.at] = min(low[f.at], number[e.to])
				}
				continue
			}
			at := f.at
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				up := frames[len(frames)-1].at
				low[up] = min(low[up], low[at])
			}
			if low[at] == number[at] {
				for {
					top := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					onStack[top] = false
					component[top] = components
					if top == at {
						break
					}
				}
				components++
			}
		}
	}
	return component
}
