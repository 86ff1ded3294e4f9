package diagram

import (
	"cmp"
	"slices"
)

// sweeps is how often positions are improved in each direction; pictures of workflows settle within a few.
const sweeps = 8

// order sorts each layer by the mean position of neighbours, down and up in turn, and keeps the order with the fewest
// crossings.
func (l *layout) order() {
	best, crossings := l.snapshot(), l.crossings()
	for i := range sweeps {
		position := l.positions()
		mean := func(v int) float64 {
			near := l.vertices[v].above
			if i%2 == 1 {
				near = l.vertices[v].below
			}
			if len(near) == 0 {
				return float64(position[v])
			}
			sum := 0
			for _, n := range near {
				sum += position[n]
			}
			return float64(sum) / float64(len(near))
		}
		for step := range l.layers {
			layer := step
			if i%2 == 1 {
				layer = len(l.layers) - 1 - step
			}
			slices.SortStableFunc(l.layers[layer], func(a, b int) int { return cmp.Compare(mean(a), mean(b)) })
			for p, v := range l.layers[layer] {
				position[v] = p
			}
		}
		if c := l.crossings(); c < crossings {
			best, crossings = l.snapshot(), c
		}
	}
	l.layers = best
}

// snapshot copies the order of the layers.
func (l *layout) snapshot() [][]int {
	out := make([][]int, len(l.layers))
	for i, layer := range l.layers {
		out[i] = slices.Clone(layer)
	}
	return out
}

// positions is the place of every vertex within its layer.
func (l *layout) positions() []int {
	position := make([]int, len(l.vertices))
	for _, layer := range l.layers {
		for p, v := range layer {
			position[v] = p
		}
	}
	return position
}

// crossings counts pairs of edges between neighbouring layers that cross. Large graphs are not counted: the result is
// then 0, and the first order stays.
func (l *layout) crossings() int {
	position := l.positions()
	total := 0
	for _, layer := range l.layers {
		var ends []int // positions below, by position above
		for _, v := range layer {
			below := make([]int, 0, len(l.vertices[v].below))
			for _, b := range l.vertices[v].below {
				below = append(below, position[b])
			}
			slices.Sort(below)
			ends = append(ends, below...)
		}
		if len(ends) > 2000 {
			return 0
		}
		for i, a := range ends {
			for _, b := range ends[i+1:] {
				if b < a {
					total++
				}
			}
		}
	}
	return total
}

// place gives every vertex its x: as near to the mean of its neighbours as the widths and the gap allow.
func (l *layout) place(gap float64) {
	for _, layer := range l.layers {
		x := 0.0
		for _, v := range layer {
			l.vertices[v].x = x + l.vertices[v].width/2
			x += l.vertices[v].width + gap
		}
	}
	for i := range 2 * sweeps {
		for step := range l.layers {
			layer := step
			if i%2 == 1 {
				layer = len(l.layers) - 1 - step
			}
			l.settle(l.layers[layer], gap, i%2 == 1)
		}
	}
	l.shift()
}

// settle moves a layer to the mean of its neighbours above or below. Where boxes would overlap, runs of them share the
// least squared displacement (isotonic regression by pooling adjacent violators).
func (l *layout) settle(layer []int, gap float64, fromBelow bool) {
	type pool struct {
		mean  float64
		count int
	}
	offset := make([]float64, len(layer)) // of each vertex from the first, packed
	for i := 1; i < len(layer); i++ {
		offset[i] = offset[i-1] + l.vertices[layer[i-1]].width/2 + gap + l.vertices[layer[i]].width/2
	}
	var pools []pool
	for i, v := range layer {
		near := l.vertices[v].above
		if fromBelow {
			near = l.vertices[v].below
		}
		want := l.vertices[v].x
		if len(near) > 0 {
			want = 0
			for _, n := range near {
				want += l.vertices[n].x
			}
			want /= float64(len(near))
		}
		p := pool{want - offset[i], 1}
		for len(pools) > 0 && pools[len(pools)-1].mean > p.mean {
			q := pools[len(pools)-1]
			pools = pools[:len(pools)-1]
			p = pool{(p.mean*float64(p.count) + q.mean*float64(q.count)) / float64(p.count+q.count), p.count + q.count}
		}
		pools = append(pools, p)
	}
	i := 0
	for _, p := range pools {
		for range p.count {
			l.vertices[layer[i]].x = p.mean + offset[i]
			i++
		}
	}
}

// shift moves the picture so that its left edge is 0, and measures it.
func (l *layout) shift() {
	left, right := 0.0, 0.0
	for i, v := range l.vertices {
		if i == 0 || v.x-v.width/2 < left {
			left = v.x - v.width/2
		}
		if i == 0 || v.x+v.width/2 > right {
			right = v.x + v.width/2
		}
	}
	for i := range l.vertices {
		l.vertices[i].x -= left
	}
	l.width = right - left
}
