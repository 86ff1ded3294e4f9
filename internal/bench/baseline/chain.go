package baseline

// Chain does the work of a chain of functions in this process, over memory that was touched before: what is left when starting functions and
// handing blocks over cost nothing.
type Chain struct{ from, to []byte }

// NewChain makes the two blocks that the links read and write in turn.
func NewChain(size int) *Chain { return &Chain{from: NewBlock(size), to: NewBlock(size)} }

// Run fills a block, word i with i, and has each of the other links read every word of one block and write it, one larger, to the other block.
// It returns the first and the last word of the last block and the sum of all.
func (c *Chain) Run(links int) (first, last, sum uint64) {
	for i, w := 0, words(c.from); i < len(w); i++ {
		w[i] = uint64(i)
		sum += w[i]
	}
	for range links - 1 {
		from, to := words(c.from), words(c.to)
		to = to[:len(from)]
		sum = 0
		for i, w := range from {
			to[i] = w + 1
			sum += to[i]
		}
		c.from, c.to = c.to, c.from
	}
	w := words(c.from)
	return w[0], w[len(w)-1], sum
}
