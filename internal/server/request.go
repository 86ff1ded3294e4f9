package server

import (
	"strings"
	"time"

	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/telemetry/otlp"
)

// endedRequest sends the trace of a request to a service: a span for it, and one for each
// method that it has called as its part.
func (s *server) endedRequest(e machine.Ended) {
	run, t := traceOf(e)
	s.traces.Export(run, t, "")
}

func traceOf(e machine.Ended) (otlp.Run, *telemetry.Trace) {
	app, _, _ := strings.Cut(e.To.Service, ".")
	begun := e.Until - int64(e.Took)
	t := &telemetry.Trace{Run: e.ID, Start: time.Unix(0, begun), Spans: []telemetry.Span{{Kind: telemetry.KindRun, Index: telemetry.NoIndex, End: e.Took}}}
	for _, c := range e.Calls {
		span := telemetry.Span{Kind: telemetry.KindCall, Name: c.To.Service + "." + c.To.Method, Step: c.Path, Index: telemetry.NoIndex, Start: time.Duration(c.From - begun), End: time.Duration(c.Until - begun)}
		if c.To.Object != "" {
			span.Attrs = append(span.Attrs, telemetry.Attr{Key: "object", Value: c.To.Object})
		}
		if c.Failed != "" {
			span.Attrs = append(span.Attrs, telemetry.Attr{Key: "error", Value: c.Failed})
		}
		t.Spans = append(t.Spans, span)
	}
	run := otlp.Run{ID: e.ID, App: app, Version: e.Version, Workflow: e.To.Service + "." + e.To.Method, Status: e.Outcome, Failure: e.Why}
	if e.Parent != "" {
		run.Trigger = "request " + e.Parent
	}
	return run, t
}
