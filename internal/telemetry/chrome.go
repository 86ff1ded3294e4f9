package telemetry

import (
	"encoding/json"
	"io"
	"time"
)

// chromeEvent is one entry of the Trace Event Format that chrome://tracing and Perfetto read. Times are microseconds.
type chromeEvent struct {
	Name  string            `json:"name"`
	Cat   string            `json:"cat,omitempty"`
	Phase string            `json:"ph"`
	TS    float64           `json:"ts"`
	Dur   *float64          `json:"dur,omitempty"`
	PID   int               `json:"pid"`
	TID   int               `json:"tid"`
	Args  map[string]string `json:"args,omitempty"`
}

// Processes of the Chrome trace.
const (
	chromeSteps = 1 // a thread for every step and item
	chromeHosts = 2 // a thread for every domain host
)

// WriteChrome writes the trace in the Trace Event Format (JSON object form) for chrome://tracing and ui.perfetto.dev.
func WriteChrome(w io.Writer, t *Trace) error {
	events := []chromeEvent{
		chromeName("process_name", chromeSteps, 0, "run "+t.Run),
		chromeName("process_name", chromeHosts, 0, "domain hosts"),
		chromeName("thread_name", chromeSteps, 0, "run"),
	}
	for _, s := range t.Spans {
		if s.Kind == KindRun {
			events = append(events, chromeSpan(s, chromeSteps, 0))
		}
	}
	for i, r := range rows(t) {
		tid := i + 1
		events = append(events, chromeName("thread_name", chromeSteps, tid, r.label), chromeSpan(r.whole, chromeSteps, tid))
		for _, s := range r.calls {
			events = append(events, chromeSpan(s, chromeSteps, tid))
		}
		for _, s := range r.marks {
			events = append(events, chromeSpan(s, chromeSteps, tid))
		}
	}
	names, number := hosts(t)
	for i, h := range names {
		events = append(events, chromeName("thread_name", chromeHosts, i, h))
	}
	for _, s := range t.Spans {
		if s.Kind == KindHost {
			events = append(events, chromeSpan(s, chromeHosts, number[s.Host]))
		}
	}
	enc := json.NewEncoder(w)
	return enc.Encode(struct {
		Unit   string            `json:"displayTimeUnit"`
		Meta   map[string]string `json:"otherData"`
		Events []chromeEvent     `json:"traceEvents"`
	}{"ms", map[string]string{"run": t.Run, "start": t.Start.UTC().Format(time.RFC3339Nano)}, events})
}

// chromeName is the metadata that names a process or thread.
func chromeName(what string, pid, tid int, name string) chromeEvent {
	return chromeEvent{Name: what, Phase: "M", PID: pid, TID: tid, Args: map[string]string{"name": name}}
}

// chromeSpan is a complete event ("X").
func chromeSpan(s Span, pid, tid int) chromeEvent {
	dur := float64(s.Duration()) / 1e3
	e := chromeEvent{Name: s.Name, Cat: string(s.Kind), Phase: "X", TS: float64(s.Start) / 1e3, Dur: &dur, PID: pid, TID: tid}
	switch {
	case s.Kind == KindStep:
		e.Name = s.Path()
	case e.Name == "":
		e.Name = string(s.Kind)
	case s.Kind != KindAttempt:
		e.Name = string(s.Kind) + " " + s.Name
	}
	if s.Host != "" || len(s.Attrs) > 0 {
		e.Args = map[string]string{}
		if s.Host != "" {
			e.Args["host"] = s.Host
		}
		for _, a := range s.Attrs {
			e.Args[a.Key] = a.Value
		}
	}
	return e
}
