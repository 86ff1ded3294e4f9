package node_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Services that were written with the SDK for Go: what clients move about at the same time
// stays in the bank.
func TestServicesInGo(t *testing.T) { onRuntimes(t, testServicesInGo) }

func testServicesInGo(t *testing.T, runtime string) {
	path := program(t, runtime, "../../examples/services/bank/go/bank/instance")
	s := serve(t, t.TempDir())
	deploy(t, s, fmt.Sprintf(`services:
  account: {runtime: %s, source: %s, keyed: true, methods: [put, take, read, history]}
  teller: {runtime: %[1]s, source: %[2]s}
  audit: {runtime: %[1]s, source: %[2]s}
`, runtime, path))
	names := []string{"ann", "bob", "cid"}
	for _, name := range names {
		mustCall(t, s, "", "account/"+name+".put", "20")
	}
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range 5 {
				from, to := names[(c+i)%3], names[(c*2+i+1)%3]
				_, err := call(s, "", "teller.move", fmt.Sprintf(`{"From": %q, "To": %q, "Amount": %d}`, from, to, 5*i))
				if err != nil && !strings.Contains(err.Error(), "insufficient funds") {
					t.Errorf("move: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := mustCall(t, s, "", "audit.total", `["ann", "bob", "cid"]`); got != "60" {
		t.Errorf("the total is %s, want 60", got)
	}
	if _, err := call(s, "", "account/ann.take", `"much"`); err == nil || !strings.Contains(err.Error(), "argument 1") {
		t.Errorf("an amount that is text: %v", err)
	}
	if _, err := call(s, "", "teller.none"); err == nil || !strings.Contains(err.Error(), "there is no method") {
		t.Errorf("a method that is not there: %v", err)
	}
}

// A version in Go whose fields do not fit what is stored, and are not migrated, is refused when it is deployed.
func TestStateThatNewCodeDoesNotFitInGo(t *testing.T) { onRuntimes(t, testStateThatNewCodeDoesNotFit) }

func testStateThatNewCodeDoesNotFit(t *testing.T, runtime string) {
	path := program(t, runtime, "./testdata/shape")
	s := serve(t, t.TempDir())
	yaml := func(shape string) string {
		return fmt.Sprintf("services:\n  shape: {runtime: %s, source: %s, keyed: true, env: {SHAPE: %s}}\n", runtime, path, shape)
	}
	deploy(t, s, yaml("text"))
	one := deploy(t, s, yaml("number"))
	mustCall(t, s, "", "shape/a.fill")
	for shape, words := range map[string]string{
		"table": "shape/a: Field holds a Value, where this code has a Map. Give the state a version and a Migrate",
		"other": "", "migrated": "",
	} {
		_, _, err := s.Apps.Deploy(t.Context(), packed(t, yaml(shape)), deployment)
		if words == "" && err != nil || words != "" && (err == nil || !strings.Contains(err.Error(), words)) {
			t.Errorf("%s: %v, want %q", shape, err, words)
		}
	}
	_, _, err := s.Apps.Deploy(t.Context(), packed(t, strings.Replace(yaml("text"), "keyed: true", "keyed: true, attempts: 3", 1)), deployment)
	if err == nil || !strings.Contains(err.Error(), "shape/a: Field holds a number, 5, where this code has a string") {
		t.Errorf("another type: %v", err)
	}
	if _, _, err := s.Apps.Get("test", one.ID); err != nil {
		t.Error(err)
	}
}
