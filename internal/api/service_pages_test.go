package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
	frames "github.com/weft-run/weft/internal/service/wire"
)

// follow reads the pages of a list, and fails if one has more items than it may.
func follow[T any](t *testing.T, s *site, path string, limit int) (all []T) {
	t.Helper()
	after := ""
	for {
		var p wire.Page[T]
		s.ask(t, auth.Read, "GET", fmt.Sprintf("%s?app=shop&limit=%d&after=%s", path, limit, url.QueryEscape(after)), nil).status(t, 200).decode(t, &p)
		all = append(all, p.Items...)
		if len(p.Items) > limit || p.Next != "" && len(p.Items) < limit {
			t.Fatalf("%s: a page of %d has %d items, and next is %q", path, limit, len(p.Items), p.Next)
		}
		if after = p.Next; after == "" {
			return all
		}
	}
}

// Lists of requests and locks come in pages, which together have each one once; services that
// have ended say so instead of showing nothing.
func TestPagesOfRequestsAndLocks(t *testing.T) {
	s := newSite(t)
	deployBank(t, s)
	const at = "/v1/apps/shop/services/"
	send := func(path string) string {
		var sent wire.Sent
		s.ask(t, auth.Invoke, "POST", at+path, "[1]").status(t, 202).decode(t, &sent)
		return sent.Request
	}
	ids := []string{send("teller/open?send=true")}
	eventually(t, "the lock is had", func() bool { return len(follow[wire.Lock](t, s, "/v1/locks", 10)) == 1 })
	for range 4 {
		ids = append(ids, send("bank/locked/add?send=true"))
	}
	eventually(t, "the lock is waited for", func() bool { return len(follow[wire.Lock](t, s, "/v1/locks", 10)) == 5 })
	for limit := 1; limit <= 6; limit++ {
		var requests, locks []string
		for _, r := range follow[wire.Request](t, s, "/v1/requests", limit) {
			requests = append(requests, r.ID)
		}
		for _, l := range follow[wire.Lock](t, s, "/v1/locks", limit) {
			locks = append(locks, l.Request)
		}
		if !slices.Equal(requests, ids) || len(locks) != 5 || locks[0] != ids[0] {
			t.Errorf("pages of %d: requests %v, locks of %v, want %v", limit, requests, locks, ids)
		}
		slices.Sort(locks)
		if n := len(slices.Compact(locks)); n != 5 {
			t.Errorf("pages of %d: locks of %d requests, want 5", limit, n)
		}
	}
	for _, path := range []string{"/v1/requests?after=x", "/v1/locks?after=x"} {
		s.ask(t, auth.Read, "GET", path, nil).problem(t, 400, "bad-request", "want next of the page before")
	}

	if err := s.node.Services.Close(); err != nil {
		t.Fatal(err)
	}
	request := "/v1/requests/" + ids[0]
	for _, path := range []string{"/v1/requests", "/v1/locks", "/v1/services", request} {
		s.ask(t, auth.Read, "GET", path, nil).problem(t, 503, "draining", "closed")
	}
	for _, path := range []string{request + "/cancel", request + "/retry", request + "/promises/p", at + "bank/ann/add", at + "bank/ann/add?send=true"} {
		s.ask(t, auth.Invoke, "POST", path, nil).problem(t, 503, "draining", "closed")
	}
	s.ask(t, auth.Invoke, "POST", request+"/cancel", wire.CancelRequest{Family: true}).problem(t, 503, "draining", "closed")
	s.ask(t, auth.Deploy, "POST", request+"/restart", nil).problem(t, 503, "draining", "closed")
}

// Clients of mu2sls are told what others are of results that are not JSON, or do not come in time.
func TestResultsByHost(t *testing.T) {
	s := newSite(t, func(o *settings) {
		o.api.Domain, o.auth.Domain, o.api.Wait = "example.org", "example.org", 100*time.Millisecond
	})
	deployBank(t, s)
	ask := func() *answer {
		return s.ask(t, auth.Invoke, "POST", "/ask", `{"req_id": "k", "args": []}`, "Host", "teller.shop.example.org")
	}
	ask().problem(t, 504, "timeout", "call teller.ask: no result within 100ms; it may happen yet")
	eventually(t, "the request waits", func() bool {
		return s.node.Services.Resolve(t.Context(), "shop.teller:k", "answer", frames.Value{Data: []byte("\xff")}) == nil
	})
	eventually(t, "the result is there", func() bool {
		a := ask()
		return a.StatusCode == 200 && string(a.body) == "\xff" && a.Header.Get("Content-Type") == "application/octet-stream"
	})
}
