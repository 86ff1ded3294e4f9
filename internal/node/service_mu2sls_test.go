package node_test

import (
	"encoding/json"
	"sync"
	"testing"
)

// Programs in the format of mu2sls that use every word of it in ways that its own examples do not: transactions within
// others, aborts from above, below and without one, promises that nobody waits for, or twice, methods that call themselves.
func TestNastyServicesOfMu2sls(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, mu2slsApp("vault:Vault", "nasty:Nasty"), pythonFiles(t, "mu2sls")...))
	const clean = `[[],[],{"a":[1]}]`
	for _, e := range []struct{ method, args, result, words, state string }{
		{"nested_commit", ``, `[1,2]`, "", `[[1,2],[1],{"a":[1]}]`},
		{"inner_abort", ``, `["inner","outer"]`, "", clean},
		{"callee_has_one", ``, `[1,1,[]]`, "", `[[],[2],{"a":[1]}]`},
		{"commit_nothing", ``, `"none"`, "", clean},
		{"abort_nothing", ``, "", "ABORT", clean},
		{"abort_nothing_quietly", ``, "", "ABORT", clean},
		{"commit_twice", ``, `[1]`, "", `[[1],[],{"a":[1]}]`},
		{"left_open", ``, "", "in the middle of a transaction", clean},
		{"abort_after_commit", ``, `[1]`, "", `[[1],[],{"a":[1]}]`},

		{"callee_aborts", `["set_and_abort"]`, `["aborted",[],[]]`, "", clean},
		{"callee_aborts", `["set_and_abort_quietly"]`, `["aborted",[],[]]`, "", clean},
		{"callee_aborts", `["set_and_abort_own"]`, `["aborted",[],[]]`, "", clean},
		{"callee_aborts", `["set_and_raise"]`, "", "KeyError: 2", clean},
		{"callee_aborts", `["set_in_tx"]`, `["committed 2",[1],[1,2]]`, "", `[[1],[1,2],{"a":[1]}]`},
		{"callee_aborts_without", `["set_and_abort"]`, `"aborted"`, "", clean},
		{"callee_aborts_without", `["set_and_abort_quietly"]`, `"aborted"`, "", clean},
		{"callee_aborts_without", `["set_and_abort_own"]`, `[]`, "", clean},
		{"callee_aborts_async", `["set_and_abort"]`, `"aborted"`, "", clean},
		{"callee_aborts_async", `["set_and_abort_own"]`, `"aborted"`, "", clean},
		{"callee_aborts_async", `["set_in_tx"]`, `[1,2,3]`, "", `[[],[1,2,3],{"a":[1]}]`},
		{"swallows_everything", ``, `["not",[]]`, "", clean},
		{"swallows_error", ``, "", "KeyError: 1", clean},
		{"own_error", ``, `[1,2]`, "", `[[1,2],[],{"a":[1]}]`},
		{"leaves_with_error", ``, "", "ValueError: away", clean},
		{"in_finally", ``, `1`, "", `[[1],[1],{"a":[1]}]`},
		{"retries", `[4]`, `[4,[4]]`, "", `[[4],[4],{"a":[1]}]`},
		{"table_in_abort", ``, `[["b","c"],{"a":[1]}]`, "", clean},

		{"promises", ``, `[1,1,[2,1,2,[7,{"1":7},null]],[],3,[2,[7,{"1":7},null]],[2,[7,{"1":7},null]]]`, "", `[[],[1,2,3],{"a":[1]}]`},
		{"not_async", ``, `[1,2,[2,1],[2,1]]`, "", `[[],[2,1],{"a":[1]}]`},
		{"across", ``, `[1,2]`, "", `[[],[1,2],{"a":[1]}]`},
		{"one_fails", ``, `["KeyError: 2",1,[1]]`, "", `[[],[1],{"a":[1]}]`},
		{"keeps_promise", ``, "", "a value of type Future cannot be stored", ""},
		{"returns_promise", ``, "", "a value of type Future is not JSON", ""},
		{"passes_promise", ``, "", "a value of type Future is not JSON", ""},

		{"recursive", `[3]`, `[3,2,1,0]`, "", `[[3,2,1,0],[],{"a":[1]}]`},
		{"recursive_tx", `[2]`, `["aborted at",2,[]]`, "", clean},
		{"awaits_itself", ``, `[[2,1,0],[2,1,0,1,0]]`, "", `[[2,1,0,1,0],[],{"a":[1]}]`},
		{"texts", ``, `["ABORT",["x",{"1":"x"},null]]`, "", clean},
		{"nobody", `["Nobody", "x"]`, "", "has no service", clean},
		{"nobody", `["Vault", "x"]`, "", "there is no method", clean},
	} {
		t.Run(e.method+e.args, func(t *testing.T) {
			mustCall(t, s, "", "nasty.reset")
			converse(t, s, []exchange{{"nasty." + e.method, e.args, e.result, e.words}})
			if e.state != "" {
				converse(t, s, []exchange{{"nasty.state", ``, e.state, ""}})
			}
		})
	}
}

// What nobody waits for is done all the same, unless it belongs to a transaction that was aborted.
func TestCallsOfMu2slsThatNobodyWaitsFor(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, mu2slsApp("vault:Vault", "nasty:Nasty"), pythonFiles(t, "mu2sls")...))
	mustCall(t, s, "", "nasty.nobody_waits")
	if !eventually(func() bool {
		got := mustCall(t, s, "", "vault.get")
		return (got == "[1,2]" || got == "[2,1]") && len(s.Services.Requests()) == 0 && len(s.Services.Locks()) == 0
	}) {
		t.Errorf("the vault has %s, and there are %+v", mustCall(t, s, "", "vault.get"), s.Services.Requests())
	}
}

// Clients at once, of which some have their transactions aborted by what they call: what was committed is
// there in both services, once, and nothing else.
func TestContendedServicesOfMu2sls(t *testing.T) {
	needProcesses(t)
	s := serve(t, t.TempDir())
	deployPython(t, s, load(t, mu2slsApp("vault:Vault", "nasty:Nasty"), pythonFiles(t, "mu2sls")...))
	methods := []string{"set_in_tx", "set_and_abort", "set_async", "set_and_abort_quietly", "set"}
	const clients, calls = 4, 10
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range calls {
				m := methods[(c+i)%len(methods)]
				got, err := call(s, "", "nasty.callee_aborts", `"`+m+`"`)
				var said []json.RawMessage
				if err != nil || json.Unmarshal([]byte(got), &said) != nil {
					t.Error(got, err)
					return
				}
				if aborted := string(said[0]) == `"aborted"`; aborted != (m == "set_and_abort" || m == "set_and_abort_quietly") {
					t.Errorf("with %s it is %s", m, got)
				}
			}
		})
	}
	all.Wait()
	var state []json.RawMessage
	var mine, kept []int
	if err := json.Unmarshal([]byte(mustCall(t, s, "", "nasty.state")), &state); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(state[0], &mine); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(state[1], &kept); err != nil {
		t.Fatal(err)
	}
	const committed = clients * calls * 3 / 5
	if len(mine) != committed || len(kept) != 2*committed {
		t.Errorf("%d and %d are kept of %d transactions", len(mine), len(kept), committed)
	}
	if left := s.Services.Locks(); len(left) > 0 {
		t.Errorf("locks are left: %v", left)
	}
}
