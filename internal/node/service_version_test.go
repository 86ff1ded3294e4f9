package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/node"
	"github.com/weft-run/weft/internal/registry"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
)

// sendTeller has a method of the teller called, and returns the request when it waits.
func sendTeller(t *testing.T, s *node.Server, method, key string) string {
	t.Helper()
	id, err := s.SendService(t.Context(), node.ServiceCall{App: "test", Service: "teller", Method: method, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if !eventually(func() bool { return stateOf(s, id) == machine.Waiting }) {
		t.Fatalf("request %s does not wait: %+v", id, s.Services.Requests())
	}
	return id
}

func stateOf(s *node.Server, id string) machine.State {
	for _, r := range s.Services.Requests() {
		if r.ID == id {
			return r.State
		}
	}
	return 255
}

// A request ends on the version that it began on, and so does what it begins, whatever is
// deployed meanwhile and wherever the node was restarted. A version that has
// requests is not deleted, nor is its app; one that has none is, and results stay.
func TestRequestsEndOnTheirVersion(t *testing.T) {
	dir := t.TempDir()
	s := serveBeside(t, dir)
	one := deploy(t, s, bankApp(t, app.RuntimeNative, ", env: {EDITION: one}"))
	first, second := sendTeller(t, s, "loyal", "k"), sendTeller(t, s, "loyal", "")
	two := deploy(t, s, bankApp(t, app.RuntimeNative, ", env: {EDITION: two}"))
	if got := mustCall(t, s, "", "teller.edition"); got != `"two"` {
		t.Errorf("a new request has the edition %s, want two", got)
	}
	for range 2 {
		for what, err := range map[string]error{"the version": s.Apps.DeleteVersion(t.Context(), "test", one.ID), "the app": s.Apps.Delete(t.Context(), "test")} {
			if !errors.Is(err, registry.ErrInUse) || !strings.Contains(err.Error(), "2") {
				t.Errorf("delete %s of 2 requests: %v", what, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = serveBeside(t, dir)
		for _, r := range s.Services.Requests() {
			if r.Version != one.ID || r.State != machine.Waiting && r.State != machine.Running && r.State != machine.Queued {
				t.Errorf("after a restart: %+v", r)
			}
		}
	}
	if !eventually(func() bool { return stateOf(s, first) == machine.Waiting }) {
		t.Fatalf("%+v", s.Services.Requests())
	}
	if err := s.Services.Resolve(t.Context(), first, "go", wire.Value{Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	const want = `"one\"one\"\"one\""`
	if got := mustCall(t, s, "k", "teller.loyal"); got != want {
		t.Errorf("the edition was %s, want %s", got, want)
	}
	if err := s.Apps.DeleteVersion(t.Context(), "test", one.ID); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("one request is left: %v", err)
	}
	if err := s.Services.Cancel(t.Context(), second, "enough"); err != nil {
		t.Fatal(err)
	}
	if err := s.Apps.DeleteVersion(t.Context(), "test", one.ID); err != nil {
		t.Fatal(err)
	}
	if got := mustCall(t, s, "k", "teller.loyal"); got != want {
		t.Errorf("the result of a version that is gone is %s", got)
	}
	_, err := s.CallService(t.Context(), node.ServiceCall{App: "test", Service: "teller", Method: "edition", Version: one.ID})
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a call of a version that is gone: %v", err)
	}
	if got := mustCall(t, s, "", "teller.edition"); got != `"two"` {
		t.Errorf("the edition is %s of version %s", got, two.ID)
	}
}
