package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/auth"
)

// buildBank builds the services of package node's tests, once.
var buildBank = sync.OnceValues(func() (string, error) {
	path := filepath.Join(cache, "bank")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../node/testdata/bank")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// deployBank deploys the app shop with the services bank and teller.
func deployBank(t *testing.T, s *site) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("not installed: ", err)
	}
	path, err := buildBank()
	if err != nil {
		t.Fatal(err)
	}
	s.deploy(t, "name: shop\nservices:\n  bank: {runtime: native, source: "+path+", keyed: true, methods: [add, get], retention: 1h}\n  teller: {runtime: native, source: "+path+", timeout: 2s, attempts: 2}\n")
}

func TestCallServices(t *testing.T) {
	s := newSite(t, func(o *settings) { o.node.ValueMax, o.api.Value = 32<<10, 32<<10 })
	deployBank(t, s)
	const at = "/v1/apps/shop/services/"
	for range 2 {
		a := s.ask(t, auth.Invoke, "POST", at+"bank/ann/add", "[ 100 ]", "Idempotency-Key", "opening").status(t, 200)
		if string(a.body) != "100" || a.Header.Get("Content-Type") != "application/json" || a.Header.Get(wire.HeaderRetention) != "1h0m0s" || a.Header.Get(wire.HeaderDurability) != wire.DurabilityFlushed {
			t.Errorf("%s of %s, kept for %q", a.body, a.Header.Get("Content-Type"), a.Header.Get(wire.HeaderRetention))
		}
	}
	for _, c := range []struct{ path, body, want string }{
		{"teller/transfer", `["ann", "a/b c", 30]`, "null"},
		{"bank/a%2Fb%20c/get", "", "30"},
		{"bank/ann/get", "[]", "70"},
		{"bank/ann/add", "5", "75"},
		{"teller/echo", `["ab",2]`, `"abab"`},
	} {
		if a := s.ask(t, auth.Invoke, "POST", at+c.path, c.body).status(t, 200); string(a.body) != c.want {
			t.Errorf("%s %s: %s, want %s", c.path, c.body, a.body, c.want)
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
		word, says string
	}{
		{"teller/transfer", `["ann", "bob", 3000]`, 422, "method-failed", "account ann has not so much"},
		{"bnk/ann/add", "[1]", 404, "not-found", `did you mean \"bank\"?`},
		{"bank/ann/ad", "[1]", 404, "not-found", `did you mean \"add\"?`},
		{"bank/add", "[1]", 404, "not-found", "names none"},
		{"bank/ann/add", "[1", 400, "bad-request", "is not JSON"},
		{"teller/echo", `["` + strings.Repeat("x", 40<<10) + `",1]`, 413, "too-large", "call teller.echo: arguments are too large: 40963 bytes together, at most 32768"},
		{"teller/echo", `["` + strings.Repeat("x", 300<<10) + `",1]`, 413, "too-large", "131072"},
		{"teller/echo", `["` + strings.Repeat("x", 1<<10) + `",40]`, 422, "method-failed", "a result of 40962 bytes, at most 32768"},
		{"teller/exit", "", 502, "service-failed", "gone fishing"},
		{"teller/later?timeout=10ms", `[600000]`, 504, "timeout", "no result within 10ms"},
		{"teller/self?tmeout=10ms", "", 400, "bad-request", "timeout"},
	} {
		s.ask(t, auth.Invoke, "POST", at+c.path, c.body).problem(t, c.status, c.word, c.says)
	}
	for path, says := range map[string]string{"teller/later": "the deadline, ", "teller/hang": "has passed: nothing of it has happened"} {
		s.ask(t, auth.Invoke, "POST", at+path, "[600000]", wire.HeaderTimeout, "300ms").problem(t, 504, "deadline", says)
	}
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/get", "", wire.HeaderTimeout, "5").problem(t, 400, "bad-request", "want a duration such as 5s")
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/get", "", wire.HeaderTimeout, "1m").status(t, 200)
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/add", "[1]", "Idempotency-Key", "opening").problem(t, 409, "conflict", "another call")
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/add", "[1]", "Idempotency-Key", strings.Repeat("k", 300)).problem(t, 400, "bad-request", "too long")
	s.ask(t, auth.Invoke, "POST", "/v1/apps/shp/services/bank/ann/add", "[1]").problem(t, 404, "not-found", "shp")
}

// What callers of the app file says is answered with 403, also in the format of mu2sls.
func TestCallersOfServices(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Domain, o.auth.Domain = "example.org", "example.org" })
	deployBank(t, s)
	path, err := buildBank()
	if err != nil {
		t.Fatal(err)
	}
	s.deploy(t, "name: shop\nservices:\n  bank: {runtime: native, source: "+path+", keyed: true, callers: {services: all}}\n  teller: {runtime: native, durability: none, source: "+path+", callers: {outside: [the-admin]}}\n")
	const at = "/v1/apps/shop/services/"
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/get", "").problem(t, 403, "refused", "service bank is not for calls from outside")
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/add?send=true", "[1]").problem(t, 403, "refused", "service bank is not for calls from outside")
	s.ask(t, auth.Invoke, "POST", at+"teller/self", "").problem(t, 403, "refused", `service teller is not for calls of \"the-invoke\"`)
	if a := s.ask(t, auth.Admin, "POST", at+"teller/self", "").status(t, 200); a.Header.Get(wire.HeaderDurability) != wire.DurabilityNone {
		t.Errorf("the durability is %q", a.Header.Get(wire.HeaderDurability))
	}
	s.ask(t, auth.Read, "POST", at+"teller/self", "").problem(t, 403, "refused", "invoke")
	s.ask(t, auth.Invoke, "POST", "/self", `{"args": []}`, "Host", "teller.shop.example.org").problem(t, 403, "refused", "service teller is not for calls")
}

// Who finds no room is told when to come again.
func TestLimitsOfServices(t *testing.T) {
	s := newSite(t)
	deployBank(t, s)
	path, err := buildBank()
	if err != nil {
		t.Fatal(err)
	}
	s.deploy(t, "name: shop\nservices:\n  bank: {runtime: native, source: "+path+", keyed: true, limits: {key: {rate: 0.001, queue: 1}}}\n")
	const at = "/v1/apps/shop/services/"
	s.ask(t, auth.Invoke, "POST", at+"bank/ann/get", "").status(t, 200)
	waits, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan bool)
	go func() {
		defer close(gone)
		for waits.Err() == nil { // it is refused where another one waits, which goes
			if r, err := http.DefaultClient.Do(s.request(waits, t, auth.Invoke, "POST", at+"bank/ann/get", "")); err == nil {
				r.Body.Close()
			}
		}
	}()
	eventually(t, "the queue is full", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // who is first would wait for long
		defer cancel()
		r, err := http.DefaultClient.Do(s.request(ctx, t, auth.Invoke, "POST", at+"bank/ann/get", ""))
		if err == nil {
			r.Body.Close()
		}
		return err == nil && r.StatusCode == http.StatusTooManyRequests
	})
	a := s.ask(t, auth.Invoke, "POST", at+"bank/ann/get", "")
	a.problem(t, 429, "full", "bank/ann of app shop is busy: 1 requests wait already")
	if after, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || after < 1000 || after > 2000 {
		t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	s.ask(t, auth.Invoke, "POST", at+"bank/bob/get", "").status(t, 200)
	cancel()
	<-gone
}

func TestInspectServices(t *testing.T) {
	s := newSite(t)
	deployBank(t, s)
	const at = "/v1/apps/shop/services/"
	send := func(path, body string, headers ...string) string {
		t.Helper()
		var sent wire.Sent
		s.ask(t, auth.Invoke, "POST", at+path, body, headers...).status(t, 202).decode(t, &sent)
		return sent.Request
	}
	requests := func(query string) map[string]wire.Request {
		t.Helper()
		var p wire.Page[wire.Request]
		s.ask(t, auth.Read, "GET", "/v1/requests"+query, nil).status(t, 200).decode(t, &p)
		all := map[string]wire.Request{}
		for _, r := range p.Items {
			all[r.ID] = r
		}
		return all
	}
	asks := send("teller/ask?send=true", "", "Idempotency-Key", "a/b?c")
	later := send("bank/eve/add?delay=24h", "[1]")
	parked := send("teller/exit?send=true", "")
	open := send("teller/open?send=true", "")
	eventually(t, "the requests are where they should be", func() bool {
		all := requests("?app=shop")
		return all[asks].State == "waiting" && all[later].State == "delayed" && all[parked].State == "parked" && len(all[open].Calls) == 1
	})
	all := requests("?service=teller&state=running")
	if r := all[open]; len(all) > 1 || !r.Transaction || r.Target.String() != "shop/teller.open" || r.Held == 0 {
		t.Errorf("the open transaction is %+v", r)
	}
	var locks wire.Page[wire.Lock]
	s.ask(t, auth.Read, "GET", "/v1/locks?app=shop", nil).status(t, 200).decode(t, &locks)
	if len(locks.Items) != 1 || locks.Items[0].Place != "shop/bank/locked: balance" || locks.Items[0].Request != open || locks.Items[0].Mode != "exclusive" {
		t.Errorf("the locks are %+v", locks.Items)
	}
	var services wire.Page[wire.Service]
	s.ask(t, auth.Read, "GET", "/v1/services?app=shop", nil).status(t, 200).decode(t, &services)
	if len(services.Items) != 2 || services.Items[1].Open != 3 || services.Items[1].Parked != 1 || !services.Items[0].Keyed {
		t.Errorf("the services are %+v", services.Items)
	}
	s.ask(t, auth.Read, "GET", "/v1/apps/shop/services", nil).status(t, 200)
	s.ask(t, auth.Read, "GET", "/v1/services?app=shp", nil).problem(t, 404, "not-found", "shp")

	steer := func(id, what string, body any) *answer {
		return s.ask(t, auth.Invoke, "POST", "/v1/requests/"+url.PathEscape(id)+"/"+what, body)
	}
	steer(asks, "promises/answer", `{"a": 1}`).status(t, 204)
	if a := s.ask(t, auth.Invoke, "POST", at+"teller/ask", "", "Idempotency-Key", "a/b?c").status(t, 200); string(a.body) != `{"a":1}` {
		t.Errorf("the promise's value is %s", a.body)
	}
	steer(asks, "retry", nil).problem(t, 404, "not-found", "has ended")
	steer(later, "retry", nil).problem(t, 400, "bad-request", "is not parked")
	steer(later, "cancel", wire.Cancel{Reason: "not wanted"}).status(t, 204)
	steer(open, "cancel", nil).status(t, 204)
	steer(parked, "retry", nil).status(t, 204)
	eventually(t, "it is parked again", func() bool { all := requests(""); return len(all) == 1 && all[parked].State == "parked" })
	if r := requests("?state=parked")[parked]; !strings.Contains(r.Parked, "2 attempts") {
		t.Errorf("it is parked for %q", r.Parked)
	}
	steer(parked, "cancel", nil).status(t, 204)

	for i := range 5 {
		s.ask(t, auth.Invoke, "POST", fmt.Sprintf("%sbank/o%d/add", at, i), fmt.Sprint(i)).status(t, 200)
	}
	var seen []string
	for after := ""; ; {
		var p wire.Page[wire.Place]
		s.ask(t, auth.Read, "GET", at+"bank/state?limit=2&after="+after, nil).status(t, 200).decode(t, &p)
		for _, i := range p.Items {
			seen = append(seen, i.Object+" "+i.Field+" "+string(i.Value))
		}
		if after = p.Next; after == "" {
			break
		}
	}
	if got := strings.Join(seen, "; "); got != "o0 balance 0; o1 balance 1; o2 balance 2; o3 balance 3; o4 balance 4" {
		t.Errorf("the state is %s", got)
	}
	for query, want := range map[string]string{
		"?object=o3&field=balance": `[{"object":"o3","field":"balance","value":3}]`, "?object=o3": `[{"object":"o3","field":"balance","value":3}]`,
		"?object=o9&field=balance": "[]", "?object=o3&field=balance&entry=x": "[]",
	} {
		var p wire.Page[json.RawMessage]
		s.ask(t, auth.Read, "GET", at+"bank/state"+query, nil).status(t, 200).decode(t, &p)
		if got, _ := json.Marshal(p.Items); string(got) != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	s.ask(t, auth.Read, "GET", at+"bnk/state", nil).problem(t, 404, "not-found", "bank")
}

// Clients of mu2sls call by the name of a host.
func TestCallServicesByHost(t *testing.T) {
	s := newSite(t, func(o *settings) { o.api.Domain, o.auth.Domain = "example.org", "example.org" })
	deployBank(t, s)
	host := func(name string) []string { return []string{"Host", name, "Content-Type", "text/plain"} }
	for range 2 {
		a := s.ask(t, auth.Invoke, "POST", "/echo", `{"req_id": "r1", "args": ["ab", 2]}`, host("teller.shop.example.org")...).status(t, 200)
		if string(a.body) != `"abab"` {
			t.Errorf("the answer is %s", a.body)
		}
	}
	if a := s.ask(t, auth.Invoke, "POST", "/abort", `{"req_id": "r2", "args": []}`, host("Teller.Shop.Example.ORG:8080")...).status(t, 400); string(a.body) != "ABORT" {
		t.Errorf("an aborted transaction is answered with %s", a.body)
	}
	for _, c := range []struct {
		method, path, host, body string
		status                   int
		word, says               string
	}{
		{"POST", "/fail", "teller.shop.example.org", `{"req_id": "r3", "args": []}`, 500, "method-failed", "it does not work"},
		{"POST", "/echo", "teller.shop.example.org", `{"req_id": "r1", "args": ["ab", 3]}`, 409, "conflict", "another call"},
		{"POST", "/echo", "telle.shop.example.org", `{"args": []}`, 404, "not-found", "did you mean"},
		{"POST", "/v1/apps", "teller.shop.example.org", `{}`, 404, "not-found", "nothing at /v1/apps of service teller"},
		{"GET", "/echo", "teller.shop.example.org", "", 405, "method", "POST is"},
		{"POST", "/echo", "teller.shop.example.org", `[]`, 400, "bad-request", "not a call"},
		{"POST", "/echo", "teller.shop.example.org", `{"args": [], "txn_id": "t", "instruction": "COMMIT"}`, 400, "bad-request", "begun by methods"},
		{"POST", "/echo", "teller.shop.example.com", `{}`, 404, "not-found", "nothing at /echo"},
	} {
		s.ask(t, auth.Invoke, c.method, c.path, c.body, host(c.host)...).problem(t, c.status, c.word, c.says)
	}
	timed := func(limit string) []string { return append(host("teller.shop.example.org"), wire.HeaderTimeout, limit) }
	s.ask(t, auth.Invoke, "POST", "/later", `{"args": [600000]}`, timed("300ms")...).problem(t, 504, "deadline", "the deadline, ")
	s.ask(t, auth.Invoke, "POST", "/echo", `{"args": ["ab", 2]}`, timed("1m")...).status(t, 200)
	s.ask(t, auth.Invoke, "POST", "/echo", `{"args": ["ab", 2]}`, timed("5")...).problem(t, 400, "bad-request", "want a duration such as 5s")
	s.ask(t, 0, "POST", "/echo", `{}`, host("teller.shop.example.org")...).problem(t, 401, "refused", "token")
	s.ask(t, auth.Read, "POST", "/echo", `{}`, host("teller.shop.example.org")...).problem(t, 403, "refused", "invoke")
	open := newSite(t, func(o *settings) { o.api.Domain, o.api.OpenServices = "example.org", true })
	deployBank(t, open)
	open.ask(t, 0, "POST", "/self", `{"args": []}`, host("teller.shop.example.org")...).status(t, 200)
}
