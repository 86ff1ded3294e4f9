package node_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/node"
)

// accounts is an app of the bank, whose services have further settings.
func accounts(t *testing.T, bank, teller string) string {
	t.Helper()
	path := program(t, app.RuntimeNative, "./testdata/bank")
	return fmt.Sprintf("services:\n  bank: {runtime: native, source: %s, keyed: true%s}\n  teller: {runtime: native, source: %s%s}\n", path, bank, path, teller)
}

// What callers in the app file says holds for who comes from outside, and for methods
// of other services; nothing of a call that is refused has happened.
func TestServicesHaveCallers(t *testing.T) {
	s := serve(t, t.TempDir())
	deploy(t, s, accounts(t, ", callers: {services: [teller], workflows: [main]}", ", callers: {outside: [ci]}")+
		"workflows:\n  main: {steps: {pay: {call: bank.add, with: {key: ann, args: [5]}}}}\n")
	if _, err := call(s, "", "bank/ann.add", "1"); !errors.Is(err, node.ErrCaller) || !strings.Contains(err.Error(), "service bank is not for calls from outside") {
		t.Errorf("the bank from outside: %v", err)
	}
	if _, err := call(s, "", "teller.self"); !errors.Is(err, node.ErrCaller) || !strings.Contains(err.Error(), `not for calls of ""`) {
		t.Errorf("the teller by nobody: %v", err)
	}
	if r := ended(t, s, start(t, s, nil).ID); r.Failure != nil {
		t.Errorf("the workflow: %v", r.Failure)
	}
	transfer := node.ServiceCall{App: "test", Service: "teller", Method: "transfer", Args: [][]byte{[]byte(`"ann"`), []byte(`"bob"`), []byte("2")}, By: "ci"}
	if _, err := s.CallService(t.Context(), transfer); err != nil {
		t.Errorf("the teller by ci: %v", err)
	}

	deploy(t, s, accounts(t, ", callers: {services: none, outside: all}", ""))
	if _, err := call(s, "", "teller.transfer", `"ann"`, `"bob"`, "1"); err == nil || !strings.Contains(err.Error(), "service bank is not for calls of service teller") {
		t.Errorf("the bank by the teller: %v", err)
	}
	for name, want := range map[string]string{"ann": "3", "bob": "2"} {
		if got := mustCall(t, s, "", "bank/"+name+".get"); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
	}
}

// A step waits for room however long it takes, and what services call of each other is
// not counted.
func TestServiceLimits(t *testing.T) {
	s := serve(t, t.TempDir(), func(c *node.ServerConfig) { c.Admission = admission.Options{Wait: 10 * time.Millisecond} })
	deploy(t, s, accounts(t, ", limits: {key: {rate: 0.001}}", "")+
		"workflows:\n  main: {steps: {a: {call: bank.add, timeout: 300ms, with: {key: ann, args: [5]}}}}\n")
	mustCall(t, s, "", "bank/ann.add", "1")
	var full *admission.ErrFull
	if _, err := call(s, "", "bank/ann.add", "1"); !errors.As(err, &full) || full.Function != "bank/ann" || full.RetryAfter < 10*time.Minute {
		t.Errorf("a second one: %v", err)
	}
	mustCall(t, s, "", "teller.transfer", `"ann"`, `"bob"`, "1")
	mustCall(t, s, "", "bank/bob.add", "1")
	if r := ended(t, s, start(t, s, nil).ID); r.Failure == nil || r.Failure.Kind != "timeout" {
		t.Errorf("the step does not wait: %v", r.Failure)
	}
}
