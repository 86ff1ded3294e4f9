package node_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/weft-run/weft/internal/node"
)

// Strings have the same hash in what was forked from one interpreter, and in
// nothing else.
const hashes = `functions:
  a: {runtime: python, source: ./a.py}
  b: {runtime: python, source: ./b.py}
workflows:
  main:
    steps: {a: {call: a}, b: {call: b}}
    output: '${ (.a.hash == .b.hash | tostring) + " " + (.a.there | tostring) + " " + (.b.there | tostring) }'
`

// Functions of an app are forked from one process, which has imported what both
// import and nothing of their own, unless the node is told otherwise.
func TestFunctionsHaveAParent(t *testing.T) {
	needProcesses(t)
	if os.Getuid() != 0 {
		t.Skip("functions have parents on root's nodes only")
	}
	source := func(more string) string {
		return "import sys\nthere = [m for m in ('colorsys', 'sndhdr', 'chunk') if m in sys.modules]\nimport colorsys\n" + more +
			"\ndef handler(event, context):\n    return {'hash': hash('weft'), 'there': there}\n"
	}
	for alone, want := range map[bool]string{false: `true ["colorsys"] ["colorsys"]`, true: `false [] []`} {
		t.Run(fmt.Sprintf("alone %v", alone), func(t *testing.T) {
			n := newNode(t, func(c *node.Config) { c.Alone = alone })
			wantOutput(t, run(t, n, load(t, hashes, "a.py", source("import chunk"), "b.py", source("import sndhdr"))), want)
		})
	}
}
