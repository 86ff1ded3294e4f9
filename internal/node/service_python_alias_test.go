package node_test

import (
	"fmt"
	"testing"
)

// One value that is reached in several ways is what it is in plain memory: twice within a value, by variables over
// waits, and after transactions that were aborted, if those have not changed it. What they have is not written.
func TestAliasesInPython(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, "services:\n  alias: {runtime: python, source: ./aliases.py, keyed: true, timeout: 30s}\n", pythonFiles(t, "python")...))
	converse(t, s, []exchange{
		{"alias/a.within", ``, `"written"`, ""},
		{"alias/a.within_again", ``, `[{"one":[1,2],"two":[1,2]},true,0,[1],true,[1,3]]`, ""},
		{"alias/a.deep", ``, `"written"`, ""},
		{"alias/a.deep_again", ``, `[1]`, ""},
		{"alias/a.fields", ``, `[[1,2,3],[1,2,3],[1,2,3],true]`, ""},
		{"alias/a.fields_again", ``, `[[1,2,3,4],[1,2,3],[1,2,3]]`, ""},
		{"alias/a.aborted", `["nothing"]`, `[{"in":[1]},{"in":[1,2]},true,[1,2]]`, ""},
		{"alias/a.aborted", `["replaced"]`, `[{"in":[1]},{"in":[1,2]},true,[1,2]]`, ""},
		{"alias/a.aborted", `["deleted"]`, `[{"in":[1]},{"in":[1,2]},true,[1,2]]`, ""},
		{"alias/a.aborted", `["back"]`, `[{"in":[1]},{"in":[1,2]},true,[1,2]]`, ""},
		{"alias/a.aborted", `["changed"]`, `[{"in":[1]},"stale",{"in":[1]},[1,2]]`, ""},
		{"alias/a.aborted", `["changed and replaced"]`, `[{"in":[1]},"stale",{"in":[1]},[1,2]]`, ""},
		{"alias/a.committed", ``, `[2]`, ""},
	})
	for seed := range 15 {
		if wrong := mustCall(t, s, "", "alias/random.steps", fmt.Sprint(seed), "60"); wrong != "[]" {
			t.Errorf("with seed %d it does otherwise: %s", seed, wrong)
		}
	}
}
