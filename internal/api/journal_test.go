package api_test

import (
	"net/url"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
)

// The journal of a request is there to be read, replayed with another version, and
// cut.
func TestJournals(t *testing.T) {
	s := newSite(t)
	deployBank(t, s)
	path, _ := buildBank()
	var sent wire.Sent
	s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/services/teller/loyal?send=true", "", "Idempotency-Key", "k").status(t, 202).decode(t, &sent)
	at := "/v1/requests/" + url.PathEscape(sent.Request)
	var story wire.Story
	eventually(t, "the request waits", func() bool {
		a := s.ask(t, auth.Read, "GET", at, nil)
		if a.StatusCode != 200 {
			return false
		}
		a.decode(t, &story)
		return story.Request.State == "waiting"
	})
	want := []wire.Question{{Asked: "begin", Answer: "ok"}, {Number: 1, Asked: "promise go", Answer: "ok", Start: true}, {Number: 2, Asked: "wait for [1]", Answer: "waits"}}
	if len(story.Journal) != len(want) {
		t.Fatalf("the journal is %+v", story.Journal)
	}
	for i, q := range story.Journal {
		if q != want[i] {
			t.Errorf("question %d is %+v, want %+v", i, q, want[i])
		}
	}
	changed := s.deploy(t, "name: shop\nservices:\n  bank: {runtime: native, source: "+path+", keyed: true}\n  teller: {runtime: native, source: "+path+", env: {EDITION: changed}}\n").ID
	gone := s.deploy(t, "name: shop\nservices:\n  bank: {runtime: native, source: "+path+", keyed: true}\n").ID
	replay := func(query string) []wire.Replay {
		t.Helper()
		var p wire.Page[wire.Replay]
		s.ask(t, auth.Deploy, "POST", "/v1/apps/shop/replay?"+query, nil).status(t, 200).decode(t, &p)
		return p.Items
	}
	if list := replay("version=" + story.Request.Version); len(list) != 1 || !list[0].Same || list[0].Questions != 2 || list[0].Request != sent.Request || list[0].State != "waiting" {
		t.Errorf("with its own version: %+v", list)
	}
	list := replay("version=" + changed + "&request=" + url.QueryEscape(sent.Request))
	if len(list) != 1 || list[0].Same || list[0].Divergence == nil || *list[0].Divergence != (wire.Divergence{Method: wire.Target{App: "shop", Service: "teller", Method: "loyal"}, Question: 1, Was: "promise go", Now: "promise start"}) {
		t.Errorf("with another one: %+v", list)
	}
	if list := replay(""); len(list) != 1 || list[0].Same || list[0].Failure == "" {
		t.Errorf("with the active one, %s, which has no such service: %+v", gone, list)
	}
	s.ask(t, auth.Deploy, "POST", "/v1/apps/shop/replay?request=nobody", nil).problem(t, 404, "not-found", "has no journal")
	s.ask(t, auth.Deploy, "POST", "/v1/apps/shop/replay?version=1", nil).problem(t, 404, "not-found", "version")
	s.ask(t, auth.Deploy, "POST", "/v1/apps/shp/replay", nil).problem(t, 404, "not-found", "shp")

	restart := func(want wire.Restart) *answer { return s.ask(t, auth.Deploy, "POST", at+"/restart", want) }
	restart(wire.Restart{From: 4}).problem(t, 400, "bad-request", "has asked 2 questions")
	restart(wire.Restart{Version: "none"}).problem(t, 404, "not-found", "none")
	restart(wire.Restart{Version: "active"}).problem(t, 400, "bad-request", "teller")
	var done wire.Restarted
	if restart(wire.Restart{From: 2, Version: changed}).status(t, 200).decode(t, &done); done.From != 1 {
		t.Errorf("it is restarted from question %d, want 1", done.From)
	}
	eventually(t, "it asks with the new version", func() bool {
		s.ask(t, auth.Read, "GET", at, nil).status(t, 200).decode(t, &story)
		return len(story.Journal) == 3 && story.Journal[1].Asked == "promise start"
	})
	s.ask(t, auth.Invoke, "POST", at+"/promises/start", `1`).status(t, 204)
	if a := s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/services/teller/loyal", "", "Idempotency-Key", "k"); a.StatusCode == 200 && string(a.body) != `"changed\"changed\"\"changed\""` {
		t.Errorf("the result is %s", a.body)
	}
	s.ask(t, auth.Read, "GET", "/v1/requests/nobody", nil).problem(t, 404, "not-found", "nobody")
	s.ask(t, auth.Deploy, "POST", "/v1/requests/nobody/restart", wire.Restart{}).problem(t, 404, "not-found", "nobody")
}
