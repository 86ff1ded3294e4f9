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
