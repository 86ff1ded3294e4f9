package baseline

// Chain does the work of a chain of functions in this process, over memory that was touched before: what is left when starting functions and
// handing blocks over cost nothing.
type Chain struct{ from, to []byte }

// NewChain makes the two blocks that the stages read and write in turn.
func NewChain(size int) *Chain { return &Chain{from: NewBlock(size), to: NewBlock(size)} }

// Run fills a block, word i with i, has each of the other stages read every word of one block and write it, one larger, to the other block, and
// returns the sum of the last.
func (c *Chain) Run(stages int) uint64 {
	for i, w := 0, words(c.from); i < len(w); i++ {
		w[i] = uint64(i)
	}
	for range stages - 1 {
		from, to := words(c.from), words(c.to)
		to = to[:len(from)]
		for i, w := range from {
			to[i] = w + 1
		}
		c.from, c.to = c.to, c.from
	}
	return Sum(c.from)
}
