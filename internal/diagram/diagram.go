// Package diagram draws the graph of a workflow: as boxes and lines of text for a terminal (WriteText), as a picture
// (WriteSVG), or for Graphviz (WriteDOT).
//
//	g := diagram.Graph{Name: "main", Nodes: []diagram.Node{{Name: "split"}, {Name: "count", Foreach: true}}, Edges: []diagram.Edge{{From: "split", To: "count"}}}
//	err := diagram.WriteText(os.Stdout, g, diagram.TextOptions{Unicode: true})
//
// Both drawings share one layout in layers: every step is one layer below the last that it needs, long edges pass
// through layers as points of their own, the order within a layer follows the mean position of neighbours, and
// positions are the nearest to that mean that keep boxes apart. The package knows nothing of weft's types.
package diagram

import "fmt"

// Node is a box: one step.
type Node struct {
	Name    string // unique in the graph
	Call    string // what it calls, shown under the name; "" when it calls nothing or something of the same name
	Foreach bool   // drawn as a stack of boxes
	When    bool   // it may be skipped: the edges into it are dashed
	Notes   string // further facts on the third line, such as "retry 3 · catch"
}

// Edge leads from a step to one that needs it.
type Edge struct{ From, To string }

// Graph is what to draw. Edges must name nodes and must not form a cycle.
type Graph struct {
	Name  string
	Nodes []Node
	Edges []Edge
}

// vertex is a box or a point at which a long edge passes a layer.
type vertex struct {
	node   *Node // nil for a point
	layer  int
	width  float64
	x      float64 // of the centre
	above  []int   // neighbours in the layer before, by number of vertex
	below  []int   // neighbours in the layer after
	dashed bool    // the edge that the point belongs to
}

// layout is a graph with every vertex in its place.
type layout struct {
	vertices []vertex
	layers   [][]int // numbers of vertices from left to right
	width    float64
}

// arrange places the graph: width says how wide each box is, gap how far apart they are at least.
func arrange(g Graph, width func(Node) float64, gap float64) (*layout, error) {
	l := &layout{}
	number := map[string]int{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if _, twice := number[n.Name]; twice {
			return nil, fmt.Errorf("draw graph %s: two steps are called %s", g.Name, n.Name)
		}
		number[n.Name] = i
		l.vertices = append(l.vertices, vertex{node: n, width: width(*n)})
	}
	needs := make([][]int, len(g.Nodes))
	for _, e := range g.Edges {
		from, ok1 := number[e.From]
		to, ok2 := number[e.To]
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("draw graph %s: edge %s to %s leads to no step", g.Name, e.From, e.To)
		}
		needs[to] = append(needs[to], from)
	}
	if err := l.level(g.Name, needs); err != nil {
		return nil, err
	}
	l.connect(needs)
	l.order()
	l.place(gap)
	return l, nil
}

// level sets the layer of every box to one more than the deepest that it needs.
func (l *layout) level(name string, needs [][]int) error {
	const underway = -1
	depth := make([]int, len(needs)) // 0: not visited
	var visit func(v int) error
	visit = func(v int) error {
		if depth[v] == underway {
			return fmt.Errorf("draw graph %s: steps need each other in a circle through %s", name, l.vertices[v].node.Name)
		}
		if depth[v] > 0 {
			return nil
		}
		depth[v] = underway
		deepest := 0
		for _, n := range needs[v] {
			if err := visit(n); err != nil {
				return err
			}
			deepest = max(deepest, depth[n])
		}
		depth[v] = deepest + 1
		return nil
	}
	for v := range needs {
		if err := visit(v); err != nil {
			return err
		}
		l.vertices[v].layer = depth[v] - 1
	}
	return nil
}

// connect links neighbours, with points where an edge passes layers, and fills the layers.
func (l *layout) connect(needs [][]int) {
	link := func(a, b int) {
		l.vertices[a].below = append(l.vertices[a].below, b)
		l.vertices[b].above = append(l.vertices[b].above, a)
	}
	boxes := len(l.vertices)
	for to := range boxes {
		for _, from := range needs[to] {
			last := from
			for layer := l.vertices[from].layer + 1; layer < l.vertices[to].layer; layer++ {
				l.vertices = append(l.vertices, vertex{layer: layer, width: 1, dashed: l.vertices[to].node.When})
				link(last, len(l.vertices)-1)
				last = len(l.vertices) - 1
			}
			link(last, to)
		}
	}
	for v := range l.vertices {
		layer := l.vertices[v].layer
		for len(l.layers) <= layer {
			l.layers = append(l.layers, nil)
		}
		l.layers[layer] = append(l.layers[layer], v)
	}
}
