package server

import (
	"testing"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/service/wire"
	"github.com/weft-run/weft/internal/telemetry"
)

func TestTraceOfARequest(t *testing.T) {
	to := func(service, object, method string) wire.Target {
		return wire.Target{Service: service, Object: object, Method: method}
	}
	run, trace := traceOf(machine.Ended{
		ID: "r", Version: "v", Parent: "p", To: to("shop.teller", "", "move"), Outcome: "failed", Why: "no", Took: 10, Until: 1010,
		Calls: []machine.Timed{{Path: "2", To: to("shop.account", "a", "take"), From: 1001, Until: 1004}, {Path: "3", To: to("shop.account", "b", "put"), From: 1005, Until: 1009, Failed: "no"}},
	})
	if run.App != "shop" || run.Workflow != "shop.teller.move" || run.Status != "failed" || run.Failure != "no" || run.Trigger != "request p" {
		t.Errorf("the run is %+v", run)
	}
	if trace.Start != time.Unix(0, 1000) || len(trace.Spans) != 3 || trace.Duration() != 10 {
		t.Fatalf("the trace is %+v", trace)
	}
	if c := trace.Spans[2]; c.Kind != telemetry.KindCall || c.Name != "shop.account.put" || c.Start != 5 || c.End != 9 || c.Attr("error") != "no" || c.Attr("object") != "b" {
		t.Errorf("the second call is %+v", c)
	}
}
