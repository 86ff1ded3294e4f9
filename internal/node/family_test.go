package node_test

import (
	"fmt"
	"os"
	"testing"
	"time"

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
		return "import sys\nthere = [m for m in ('colorsys', 'sched', 'tabnanny') if m in sys.modules]\nimport colorsys\n" + more +
			"\ndef handler(event, context):\n    return {'hash': hash('weft'), 'there': there}\n"
	}
	for alone, want := range map[bool]string{false: `true ["colorsys"] ["colorsys"]`, true: `false [] []`} {
		t.Run(fmt.Sprintf("alone %v", alone), func(t *testing.T) {
			n := newNode(t, func(c *node.Config) { c.Alone = alone })
			wantOutput(t, run(t, n, load(t, hashes, "a.py", source("import tabnanny"), "b.py", source("import sched"))), want)
		})
	}
}

// A function that a deployment leaves as it is keeps its fork server, and joins the family
// that the deployment has brought when the server is started again.
func TestUnchangedFunctionJoinsAFamily(t *testing.T) {
	needProcesses(t)
	if os.Getuid() != 0 {
		t.Skip("functions have parents on root's nodes only")
	}
	const idle = 2 * time.Second
	s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.Idle = idle })
	const source = "import colorsys\ndef handler(event, context):\n    return hash('weft')\n"
	const one = "functions:\n  a: {runtime: python, source: ./a.py}\n"
	hash := func(name string) string { return mustInvoke(t, s, name, "") }
	if _, err := deployProcesses(t, s, load(t, one, "a.py", source)); err != nil {
		t.Fatal(err)
	}
	called := time.Now()
	before := hash("a")
	if _, err := deployProcesses(t, s, load(t, one+"  b: {runtime: python, source: ./b.py}\n", "a.py", source, "b.py", source)); err != nil {
		t.Fatal(err)
	}
	if after := hash("a"); after != before && time.Since(called) < idle {
		t.Errorf("its fork server has been started anew: %s, %s", before, after)
	}
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(2 * idle) // for its server to end
		if b := hash("b"); hash("a") == b {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it has not joined")
		}
	}
}
