// Package work has functions that really compute: what the CPU scheduler is measured with.
//
//	rates := work.Calibrate(cores, 3*time.Millisecond)       // CPU time of a unit of each kernel, here
//	units := rates.Units(work.Matmul, 5*time.Millisecond)    // as many as take 5 ms
//	sum := work.NewBench().Run(work.Matmul, units, 0)        // the sum of what came out
//	sum == work.Answer(work.Matmul, units, 0)                // and what should have
//
// A kernel works in units of some tens of microseconds. Unit n solves the problem with
// number n%Problems, whose answer is known, so any number of units can be checked without
// being done twice. A Bench holds all the memory that kernels need: once it is made, they
// neither allocate nor lock, and so also run in a process that was forked from one of Go.
//
//	work.go      kernels, units and answers
//	numbers.go   fib, float, matmul
//	text.go      markdown, sentiment, feature extraction
//	graph.go     breadth-first search, spanning tree, PageRank
//	calibrate.go what a unit costs on this machine
package work

import "fmt"

// Kernel is a computation.
type Kernel uint8

// The kernels.
const (
	Fib       Kernel = iota // the Fibonacci numbers by recursion
	Float                   // square roots and divisions
	Matmul                  // a product of two matrices
	Markdown                // a text with headings, lists and emphasis as HTML
	Sentiment               // the words of a review, looked up and weighed
	Features                // what describes a signal: moments, crossings, histogram, autocorrelation
	BFS                     // the distances in a random graph
	MST                     // its least spanning tree
	PageRank                // and the rank of its nodes
	Kernels                 // how many there are
)

var names = [Kernels]string{"fib", "float", "matmul", "markdown", "sentiment", "features", "bfs", "mst", "pagerank"}

// String is the kernel's name.
func (k Kernel) String() string {
	if k < Kernels {
		return names[k]
	}
	return fmt.Sprintf("kernel %d", uint8(k))
}

// Problems is how many different problems each kernel has.
const Problems = 4

// Bench is the memory that kernels work on. It is for one goroutine at a time.
type Bench struct {
	matmul matrices
	texts  texts
	signal [signalLength]float64
	graphs [Problems]graph
	walk   walk
}

// NewBench makes a bench, with all problems on it.
func NewBench() *Bench {
	b := &Bench{}
	b.texts.init()
	for i := range b.graphs {
		b.graphs[i].init(uint64(i))
	}
	b.walk.init()
	return b
}

// Run does units of a kernel, of which done have been done before, and returns the sum of
// their answers. A kernel that there is not does nothing.
func (b *Bench) Run(k Kernel, units, done uint64) uint64 {
	sum := uint64(0)
	if k < Kernels {
		for n := done; n < done+units; n++ {
			sum = fold(sum, n, b.solve(k, int(n%Problems)))
		}
	}
	return sum
}

// fold adds an answer in such a way that the order counts.
func fold(sum, n, answer uint64) uint64 { return sum + (answer^n)*0x9e3779b97f4a7c15 }

// solve does one unit.
func (b *Bench) solve(k Kernel, problem int) uint64 {
	switch k {
	case Fib:
		return fib(fibLeast + problem)
	case Float:
		return float(problem)
	case Matmul:
		return b.matmul.solve(problem)
	case Markdown:
		return b.texts.render(problem)
	case Sentiment:
		return b.texts.sentiment(problem)
	case Features:
		return features(&b.signal, problem)
	case BFS:
		return b.walk.distances(&b.graphs[problem])
	case MST:
		return b.walk.spanning(&b.graphs[problem])
	case PageRank:
		return b.walk.rank(&b.graphs[problem])
	}
	return 0
}

// Answer is what Run returns if it computes right.
func Answer(k Kernel, units, done uint64) uint64 {
	sum := uint64(0)
	if k < Kernels {
		for n := done; n < done+units; n++ {
			sum = fold(sum, n, answers[k][n%Problems])
		}
	}
	return sum
}

// random is a linear congruential generator (D. Knuth's MMIX), so that problems are the
// same everywhere and for ever.
type random uint64

// next is a number below n.
func (r *random) next(n int) int {
	*r = *r*6364136223846793005 + 1442695040888963407
	return int((uint64(*r) >> 33) % uint64(n))
}

// digest of bytes: FNV-1a.
const (
	digestSeed  = 0xcbf29ce484222325
	digestPrime = 0x100000001b3
)

func digest(b []byte) uint64 {
	sum := uint64(digestSeed)
	for _, c := range b {
		sum = (sum ^ uint64(c)) * digestPrime
	}
	return sum
}
