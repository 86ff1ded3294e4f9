package work

import (
	"flag"
	"fmt"
	"go/format"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite answers.go")

func TestAnswers(t *testing.T) {
	b := NewBench()
	var got [Kernels][Problems]uint64
	for k := range Kernels {
		for p := range Problems {
			got[k][p] = b.solve(k, p)
		}
	}
	if *rewrite {
		var s strings.Builder
		s.WriteString("package work\n\n// answers are those of all problems, by kernel. The test that rewrites them also checks them by other means.\nvar answers = [Kernels][Problems]uint64{\n")
		for k := range Kernels {
			fmt.Fprintf(&s, "\t{%#x, %#x, %#x, %#x}, // %v\n", got[k][0], got[k][1], got[k][2], got[k][3], k)
		}
		s.WriteString("}\n")
		text, err := format.Source([]byte(s.String()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("answers.go", text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != answers {
		t.Errorf("got %#v", got)
	}
}

func TestRunIsCheckedInParts(t *testing.T) {
	b := NewBench()
	for k := range Kernels {
		whole := Answer(k, 11, 0)
		if got := b.Run(k, 11, 0); got != whole {
			t.Errorf("%v: %#x, want %#x", k, got, whole)
		}
		if got := b.Run(k, 4, 0) + b.Run(k, 7, 4); got != whole {
			t.Errorf("%v in two parts: %#x, want %#x", k, got, whole)
		}
		if Answer(k, 10, 0) == whole {
			t.Errorf("%v: one unit less has the same answer", k)
		}
	}
	if b.Run(Kernels, 3, 0) != 0 || Answer(Kernels, 3, 0) != 0 {
		t.Error("a kernel that there is not has an answer")
	}
}

func TestKernelsDoNotAllocate(t *testing.T) {
	b := NewBench()
	for k := range Kernels {
		if n := testing.AllocsPerRun(3, func() { b.Run(k, Problems, 0) }); n > 0 {
			t.Errorf("%v allocates %v times", k, n)
		}
	}
}

func TestFib(t *testing.T) {
	a, b := uint64(0), uint64(1)
	for n := range fibLeast + Problems {
		if got := fib(n); got != a {
			t.Errorf("fib(%d) is %d, want %d", n, got, a)
		}
		a, b = b, a+b
	}
}

func TestFloatComesToItsFixedPoint(t *testing.T) {
	// x = sqrt(x n) + 1/(x+1) has x near n.
	if x := math.Float64frombits(float(0)); x < 2400 || x > 2500 {
		t.Errorf("it is %v", x)
	}
}

func TestMarkdown(t *testing.T) {
	for in, want := range map[string]string{
		"# a *b*\n":                   "<h1>a <em>b</em></h1>\n",
		"one\ntwo **x**\n\nthree":     "<p>one\ntwo <strong>x</strong></p>\n<p>three</p>\n",
		"- a\n- `*`\n\n### c":         "<ul>\n<li>a</li>\n<li><code>*</code></li>\n</ul>\n<h3>c</h3>\n",
		"text\n- item\n####### seven": "<p>text</p>\n<ul>\n<li>item</li>\n</ul>\n<p>####### seven</p>\n",
		"a < b & c":                   "<p>a &lt; b &amp; c</p>\n",
		"":                            "",
		"#":                           "<p>#</p>\n",
		"-":                           "<p>-</p>\n",
		"**open":                      "<p><strong>open</p>\n",
		"## x\ny":                     "<h2>x</h2>\n<p>y</p>\n",
		"\n\n\n- last":                "<ul>\n<li>last</li>\n</ul>\n",
	} {
		if got := string(render(nil, []byte(in))); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestSentiment(t *testing.T) {
	var x texts
	x.init()
	for in, want := range map[string]int{
		"a good room ":             2,
		"not good . great ":        1,
		"never . bad ":             -2,
		"not awful , hardly slow ": 4,
		"nothing here ":            0,
	} {
		x.reviews[0] = []byte(in)
		if got := int(int64(x.sentiment(0)) >> 20); got != want {
			t.Errorf("%q is %d, want %d", in, got, want)
		}
	}
}

// The tree of R. Prim's algorithm, over a matrix, weighs as much.
func TestSpanningTree(t *testing.T) {
	b := NewBench()
	for p := range b.graphs {
		g := &b.graphs[p]
		var cost [nodes][nodes]int32
		for _, e := range g.edges {
			if old := cost[e.from][e.to]; e.from != e.to && (old == 0 || e.weight < old) {
				cost[e.from][e.to], cost[e.to][e.from] = e.weight, e.weight
			}
		}
		in, want := [nodes]bool{true}, uint64(0)
		for range nodes - 1 {
			best, to := int32(math.MaxInt32), -1
			for i := range nodes {
				for j := range nodes {
					if in[i] && !in[j] && cost[i][j] > 0 && cost[i][j] < best {
						best, to = cost[i][j], j
					}
				}
			}
			in[to] = true
			want += uint64(best)
		}
		if got := b.walk.spanning(g); got != want {
			t.Errorf("graph %d: %d, want %d", p, got, want)
		}
	}
}

// Distances are those that relaxing all edges gives.
func TestDistances(t *testing.T) {
	b := NewBench()
	g := &b.graphs[1]
	sum := uint64(0)
	for start := range 8 {
		var d [nodes]int32
		for i := range d {
			d[i] = nodes
		}
		d[start*7] = 0
		for changed := true; changed; {
			changed = false
			for _, e := range g.edges {
				for _, e := range []edge{e, {e.to, e.from, 0}} {
					if d[e.from]+1 < d[e.to] {
						d[e.to], changed = d[e.from]+1, true
					}
				}
			}
		}
		for _, x := range d {
			sum = sum*3 + uint64(x)
		}
	}
	if got := b.walk.distances(g); got != sum {
		t.Errorf("%d, want %d", got, sum)
	}
}

// Ranks add up to one, and the node with most neighbours is among the first.
func TestPageRank(t *testing.T) {
	b := NewBench()
	g := &b.graphs[2]
	b.walk.rank(g)
	sum, most := 0.0, 0
	for i, r := range b.walk.rankNow {
		sum += r
		if len(g.around(int32(i))) > len(g.around(int32(most))) {
			most = i
		}
	}
	sorted := slices.Sorted(slices.Values(b.walk.rankNow[:]))
	if math.Abs(sum-1) > 1e-9 || b.walk.rankNow[most] < sorted[nodes-10] {
		t.Errorf("they sum up to %v, and node %d has %v of %v", sum, most, b.walk.rankNow[most], sorted[nodes-1])
	}
}

func TestUnits(t *testing.T) {
	r := Calibrate(1, 10*time.Microsecond)
	for k := range Kernels {
		if r[k] <= 0 {
			t.Errorf("%v costs %v", k, r[k])
		}
	}
	r[Fib] = 100 * time.Microsecond
	for d, want := range map[time.Duration]uint64{0: 1, 140 * time.Microsecond: 1, 160 * time.Microsecond: 2, 5 * time.Millisecond: 50} {
		if got := r.Units(Fib, d); got != want {
			t.Errorf("%v are %d units, want %d", d, got, want)
		}
	}
}

func BenchmarkUnit(b *testing.B) {
	bench := NewBench()
	for k := range Kernels {
		b.Run(k.String(), func(b *testing.B) {
			n := uint64(0)
			for b.Loop() {
				bench.Run(k, 1, n)
				n++
			}
		})
	}
}
