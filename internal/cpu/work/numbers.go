package work

import "math"

// fibLeast is the number of the first problem.
const fibLeast = 18

// fib is the n-th Fibonacci number, in time that grows as it does.
func fib(n int) uint64 {
	if n < 2 {
		return uint64(n)
	}
	return fib(n-1) + fib(n-2)
}

// float adds up square roots and quotients: a chain in which each step waits for the one
// before. Only operations that IEEE 754 rounds exactly, none fused, so the answer is the
// same on every machine.
func float(problem int) uint64 {
	x := 1 + float64(problem)
	for i := range 2500 + problem {
		x = math.Sqrt(float64(x*float64(i+1))) + float64(1/float64(x+1))
	}
	return math.Float64bits(x)
}

// matrixSize is the number of rows and columns.
const matrixSize = 36

type matrices struct {
	a, b, c [matrixSize][matrixSize]float64
}

// solve multiplies two matrices and returns the digest of the product's diagonals.
func (m *matrices) solve(problem int) uint64 {
	for i := range matrixSize {
		for j := range matrixSize {
			m.a[i][j] = float64((i*7+j*3+problem)%11) - 5
			m.b[i][j] = float64((i*5+j*13+problem)%17) - 8
		}
	}
	for i := range matrixSize {
		for j := range matrixSize {
			sum := 0.0
			for k := range matrixSize {
				sum += float64(m.a[i][k] * m.b[k][j])
			}
			m.c[i][j] = sum
		}
	}
	sum := uint64(0)
	for i := range matrixSize {
		sum = sum*31 + uint64(int64(m.c[i][i])) + 7*uint64(int64(m.c[i][matrixSize-1-i]))
	}
	return sum
}
