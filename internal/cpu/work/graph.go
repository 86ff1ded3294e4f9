package work

import "slices"

// Size of the graphs.
const (
	nodes    = 400
	degree   = 6 // edges that begin at each node
	rankings = 6 // iterations of PageRank
)

// edge joins two nodes.
type edge struct {
	from, to int32
	weight   int32
}

// graph is random and connected: node i has an edge to one before it.
type graph struct {
	edges []edge
	first [nodes + 1]int32 // of the edges at a node, in next
	next  []int32          // the other ends
}

// init makes a graph.
func (g *graph) init(seed uint64) {
	r := random(seed + 1000)
	for i := 1; i < nodes; i++ {
		g.edges = append(g.edges, edge{int32(i), int32(r.next(i)), int32(1 + r.next(1000))})
		for range degree/2 - 1 {
			g.edges = append(g.edges, edge{int32(i), int32(r.next(nodes)), int32(1 + r.next(1000))})
		}
	}
	for _, e := range g.edges {
		g.first[e.from+1]++
		g.first[e.to+1]++
	}
	for i := range nodes {
		g.first[i+1] += g.first[i]
	}
	g.next = make([]int32, 2*len(g.edges))
	at := g.first
	for _, e := range g.edges {
		g.next[at[e.from]] = e.to
		at[e.from]++
		g.next[at[e.to]] = e.from
		at[e.to]++
	}
}

// around are the neighbours of a node.
func (g *graph) around(n int32) []int32 { return g.next[g.first[n]:g.first[n+1]] }

// walk is the memory of the algorithms.
type walk struct {
	distance, queue, parent [nodes]int32
	rankNow, rankNext       [nodes]float64
	edges                   []edge
}

func (w *walk) init() { w.edges = make([]edge, 0, nodes*degree) }

// distances sums up how far all nodes are from eight of them.
func (w *walk) distances(g *graph) uint64 {
	sum := uint64(0)
	for start := int32(0); start < 8; start++ {
		for i := range w.distance {
			w.distance[i] = -1
		}
		w.distance[start*7] = 0
		w.queue[0] = start * 7
		for head, tail := 0, 1; head < tail; head++ {
			n := w.queue[head]
			for _, m := range g.around(n) {
				if w.distance[m] < 0 {
					w.distance[m] = w.distance[n] + 1
					w.queue[tail] = m
					tail++
				}
			}
		}
		for _, d := range w.distance {
			sum = sum*3 + uint64(d)
		}
	}
	return sum
}

// spanning is the weight of the least spanning tree, by J. Kruskal's algorithm.
func (w *walk) spanning(g *graph) uint64 {
	w.edges = append(w.edges[:0], g.edges...)
	slices.SortFunc(w.edges, func(a, b edge) int { return int(a.weight - b.weight) })
	for i := range w.parent {
		w.parent[i] = int32(i)
	}
	weight := uint64(0)
	for _, e := range w.edges {
		if a, b := w.root(e.from), w.root(e.to); a != b {
			w.parent[a] = b
			weight += uint64(e.weight)
		}
	}
	return weight
}

// root is the representative of a node's tree.
func (w *walk) root(n int32) int32 {
	for w.parent[n] != n {
		w.parent[n] = w.parent[w.parent[n]]
		n = w.parent[n]
	}
	return n
}

// rank is where PageRank stands after some iterations, in millionths, with a damping of
// 0.85.
func (w *walk) rank(g *graph) uint64 {
	for i := range w.rankNow {
		w.rankNow[i] = 1.0 / nodes
	}
	for range rankings {
		for i := range w.rankNext {
			w.rankNext[i] = 0.15 / nodes
		}
		for n := range int32(nodes) {
			around := g.around(n)
			part := float64(float64(0.85*w.rankNow[n]) / float64(len(around)))
			for _, m := range around {
				w.rankNext[m] += part
			}
		}
		w.rankNow, w.rankNext = w.rankNext, w.rankNow
	}
	sum := uint64(0)
	for _, r := range w.rankNow {
		sum = sum*31 + uint64(r*1e6)
	}
	return sum
}
