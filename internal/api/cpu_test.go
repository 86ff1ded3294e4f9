package api_test

import (
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/api/wire"
	"github.com/weft-run/weft/internal/audit"
	"github.com/weft-run/weft/internal/auth"
)

func TestTheProcessor(t *testing.T) {
	s := newSite(t)
	s.deploy(t, shop)
	state := func() wire.CPU {
		var c wire.CPU
		s.ask(t, auth.Read, "GET", "/v1/cpu", nil).decode(t, &c)
		return c
	}
	c := state()
	if c.Policy != "weft" || c.Backend != "none" || c.Tiers != 1 || c.Parameters["alps.theta"] != 50.0 || c.Parameters["weft.min_budget"] != "5ms" {
		t.Errorf("at first: %+v", c)
	}
	for range 3 {
		s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/functions/cat", `"x"`).success(t)
	}
	if c = state(); c.Counts.Arrivals < 3 || len(c.Profiles) != 1 || c.Profiles[0].Calls != 3 || !strings.HasSuffix(c.Profiles[0].Function, "/cat") || len(c.Apps) != 1 || c.Apps[0].App != "shop" {
		t.Errorf("after three calls: %+v", c)
	}
	const form = "application/json"
	s.ask(t, auth.Admin, "PATCH", "/v1/cpu", `{"policy": "alps", "parameters": {"theta": 40, "overload": false, "epoch": "1s", "weight.shop": 2}}`, "Content-Type", form).decode(t, &c)
	if c.Policy != "alps" || c.Parameters["alps.theta"] != 40.0 || c.Parameters["alps.overload"] != false || c.Parameters["alps.epoch"] != "1s" || c.Parameters["weight.shop"] != 2.0 {
		t.Errorf("after a change: %+v", c)
	}
	s.ask(t, auth.Admin, "PUT", "/v1/cpu", `{"policy": "none"}`, "Content-Type", form).decode(t, &c)
	if c = state(); c.Policy != "none" || c.Backend != "" || c.Parameters["alps.theta"] != 50.0 || c.Parameters["weight.shop"] != nil {
		t.Errorf("after another one: %+v", c)
	}
	s.ask(t, auth.Invoke, "POST", "/v1/apps/shop/functions/cat", `"x"`).success(t)
	if c = state(); c.Profiles[0].Calls != 3 {
		t.Errorf("learned with the policy none: %+v", c.Profiles)
	}
	for body, says := range map[string]string{
		`{"policy": "cfs"}`:                     `cfs`,
		`{"policy": "wefft"}`:                   `did you mean \"weft\"?`,
		`{"backend": "gpu"}`:                    `gpu`,
		`{"backend": "cgroups"}`:                `did you mean \"cgroup\"?`,
		`{"parameters": {"speed": 1}}`:          `speed`,
		`{"parameters": {"thetta": 1}}`:         `did you mean \"theta\"?`,
		`{"parameters": {"weft.slot": 1}}`:      `did you mean \"weft.slots\"?`,
		`{"parameters": {"weight.shap": 2}}`:    `did you mean \"shop\"?`,
		`{"parameters": {"weight.": 2}}`:        `there is no app`,
		`{"parameters": {"weight.shop": -1}}`:   `weight of shop is -1`,
		`{"parameters": {"slots": -1}}`:         `weft.slots=-1`,
		`{"parameters": {"slots": 1000000000}}`: `weft.slots=1e+09`,
		`{"parameters": {"lead": "Inf"}}`:       `weft.lead=Inf`,
		`{"parameters": {"lead": "NaN"}}`:       `weft.lead=NaN`,
		`{"parameters": {"turn": "-1s"}}`:       `weft.turn=-1s`,
		`{"parameters": {"turn": "9999h"}}`:     `weft.turn=9999h`,
		`{"parameters": {"theta": 400}}`:        "theta is 400",
		`{"parameters": {"theta": [1]}}`:        "neither a number",
		`{"parameters": {"epoch": 5}}`:          "alps.epoch=5",
	} {
		s.ask(t, auth.Admin, "PATCH", "/v1/cpu", body, "Content-Type", form).problem(t, 400, "bad-request", says)
	}
	problem := s.ask(t, auth.Admin, "PATCH", "/v1/cpu", `{"policy": "weft", "backend": "fifo"}`, "Content-Type", form).problem(t, 422, "unavailable")
	if want := "make CPU backend fifo: not available here: a real-time class on the only core would hold up everything"; problem.Detail != want || !strings.Contains(problem.Hint, "weft doctor") {
		t.Errorf("%+v, want %s", problem, want)
	}
	s.ask(t, auth.Admin, "GET", "/v1/cpu", nil).decode(t, &c)
	if c.Policy != "none" {
		t.Errorf("after a backend that is not available the policy is %s", c.Policy)
	}
	s.ask(t, auth.Deploy, "PATCH", "/v1/cpu", `{"policy": "weft"}`, "Content-Type", form).status(t, 403)
	var list wire.Page[audit.Entry]
	s.ask(t, auth.Admin, "GET", "/v1/audit", nil).decode(t, &list)
	changes := 0
	for _, e := range list.Items {
		if strings.HasPrefix(e.Action, "cpu.") {
			changes++
		}
	}
	if changes < 2 {
		t.Errorf("the audit log has %d changes: %+v", changes, list.Items)
	}
	if text := string(s.ask(t, auth.Read, "GET", "/metrics", nil).success(t).body); !strings.Contains(text, `weft_cpu_policy{backend="",policy="none"} 1`) {
		t.Errorf("metrics have no policy")
	}
}
