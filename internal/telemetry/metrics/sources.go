package metrics

import (
	"log/slog"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/cpu/scheduler"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/telemetry/otlp"
)

// Sources are what other parts of a node count themselves. They are called at
// every scrape, from its goroutine, perhaps several at a time. Nil ones are left
// out.
type Sources struct {
	Version string       // of weft, as a label of weft_build_info; empty: there is none
	Logger  *slog.Logger // told of scrapes that are not complete; nil: nobody is

	Gate   func() admission.Stats
	Pool   func() domain.Stats // takes some milliseconds
	Store  func() pebble.Stats
	Traces func() otlp.Stats
	Runs   func() int // that have not ended: Engine.Active
	CPU    func() scheduler.Status
	Data   func() int64 // bytes of the data folder: data.Folder.Bytes
	// Services are asked in their goroutine.
	Services func() service.Stats

	// Memory measures parts of the node's memory in bytes, by name, beside
	// "sandboxes", which Pool tells.
	Memory map[string]func() int64
}

func describe(metric, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", metric), help, labels, nil)
}

// What sources show.
var (
	buildInfo = describe("build_info", "1, with the version of weft.", "version")
	runsOpen  = describe("runs_open", "Runs that have not ended.")
	dataBytes = describe("data_bytes", "Bytes of the data folder.")
	memory    = describe("memory_bytes", "Memory by part of the node; of sandboxes the proportional set size, estimated from some of them.", "part")

	gateCalls     = describe("admission_calls", "Calls that run, and that wait to be admitted.", "state")
	gateMemory    = describe("admission_memory_bytes", "Memory that the calls inside declare.")
	gateLimit     = describe("admission_memory_limit_bytes", "Memory that calls may declare in all; 0: any.")
	functionCalls = describe("function_calls", "Calls of a function that run, and that wait to be admitted.", "app", "function", "state")

	starts   = describe("starts_total", "Starts of a run or an invocation lane: warm (its sandbox had served the app version), clean (one was ready), cold (it had to be started).", "kind")
	hosts    = describe("hosts", "Sandbox processes: ready (clean), idle (they wait for more of their app version), busy, starting.", "state")
	hostEnds = describe("hosts_ended_total", "Sandbox processes that were ended: evicted (for others), expired (idle for too long), retired (grown).", "why")
	prepared = describe("functions_prepared_total", "Functions that were loaded ahead of need.")

	storeAppends = describe("store_appends_total", "Batches that were written to the store.")
	storeBytes   = describe("store_bytes_total", "Bytes of keys and values that were written to the store.")
	storeFlushes = describe("store_flushes_total", "Flushes of the store to disk.")
	storeSeconds = describe("store_flush_seconds_total", "Time of all flushes.")

	cpuPolicy    = describe("cpu_policy", "1, with the policy by which calls get the processor and the backend that carries it out.", "policy", "backend")
	cpuCalls     = describe("cpu_calls", "Calls that the CPU scheduler has, by where they are: express, normal, batch, waiting (not begun, or stopped); and those that sleep, in any of them.", "state")
	cpuArrivals  = describe("cpu_arrivals_total", "Calls that came to the CPU scheduler since its policy was chosen.")
	cpuCommands  = describe("cpu_commands_total", "What it did with calls: demotion, boost, stop.", "command")
	cpuDeadlines = describe("cpu_deadlines_total", "Calls with a deadline that have ended, by whether that was met.", "outcome")
	cpuError     = describe("cpu_prediction_error", "Mean of |predicted - actual| / actual CPU time over about the last hundred calls of known functions.")
	cpuFairness  = describe("cpu_fairness", "Jain's index of CPU time by turnaround of apps: 1 when all are served alike.")
	cpuSeconds   = describe("cpu_scheduler_seconds_total", "CPU time of the CPU scheduler itself.")
	cpuLooks     = describe("cpu_looks_total", "Times that calls were looked at: used (their CPU time was read), asked (whether they sleep).", "kind")
	cpuRefused   = describe("cpu_failures_total", "Commands that the kernel did not carry out: one_way (a raise without CAP_SYS_NICE), failed.", "kind")
	cpuApps      = describe("cpu_app_seconds_total", "CPU time of the calls of an app that have ended and not failed.", "app")

	traces = describe("traces_total", "Traces of runs: exported, dropped (the queue was full), failed (the collector did not take them).", "outcome")
)

// scrape reads the sources.
type scrape struct{ Sources }

// Describe implements prometheus.Collector.
func (*scrape) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{buildInfo, runsOpen, dataBytes, memory, gateCalls, gateMemory, gateLimit, functionCalls,
		starts, hosts, hostEnds, prepared, storeAppends, storeBytes, storeFlushes, storeSeconds, traces,
		cpuPolicy, cpuCalls, cpuArrivals, cpuCommands, cpuDeadlines, cpuError, cpuFairness, cpuSeconds, cpuLooks, cpuRefused, cpuApps} {
		out <- d
	}
	for _, d := range serviceDescs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	if s.Version != "" {
		gauge(buildInfo, 1, label(s.Version))
	}
	if s.Runs != nil {
		gauge(runsOpen, float64(s.Runs()))
	}
	if s.Data != nil {
		gauge(dataBytes, float64(s.Data()))
	}
	for _, part := range slices.Sorted(maps.Keys(s.Memory)) {
		gauge(memory, float64(s.Memory[part]()), label(part))
	}
	if s.Gate != nil {
		g := s.Gate()
		gauge(gateCalls, float64(g.Running), "running")
		gauge(gateCalls, float64(g.Waiting), "waiting")
		gauge(gateMemory, float64(g.Memory))
		gauge(gateLimit, float64(g.MemoryLimit))
		for _, f := range g.Functions[:min(len(g.Functions), NamesMax)] {
			gauge(functionCalls, float64(f.Running), label(f.App), label(f.Function), "running")
			gauge(functionCalls, float64(f.Waiting), label(f.App), label(f.Function), "waiting")
		}
	}
	if s.Pool != nil {
		p := s.Pool()
		if s.Memory["sandboxes"] == nil {
			gauge(memory, float64(p.Memory), "sandboxes")
		}
		gauge(hosts, float64(p.Ready), "ready")
		gauge(hosts, float64(p.Idle), "idle")
		gauge(hosts, float64(p.Busy), "busy")
		gauge(hosts, float64(p.Starting), "starting")
		counter(starts, float64(p.Warm), "warm")
		counter(starts, float64(p.Clean), "clean")
		counter(starts, float64(p.Cold), "cold")
		counter(hostEnds, float64(p.Evicted), "evicted")
		counter(hostEnds, float64(p.Expired), "expired")
		counter(hostEnds, float64(p.Retired), "retired")
		counter(prepared, float64(p.Prepared))
	}
	if s.CPU != nil {
		processor(s.CPU(), gauge, counter)
	}
	if s.Services != nil {
		services(s.Services(), gauge, counter)
	}
	if s.Store != nil {
		st := s.Store()
		counter(storeAppends, float64(st.Appends))
		counter(storeBytes, float64(st.Bytes))
		counter(storeFlushes, float64(st.Flushes))
		counter(storeSeconds, st.FlushTime.Seconds())
	}
	if s.Traces != nil {
		t := s.Traces()
		counter(traces, float64(t.Exported), "exported")
		counter(traces, float64(t.Dropped), "dropped")
		counter(traces, float64(t.Failed), "failed")
	}
}

// processor shows the scheduler of calls.
func processor(st scheduler.Status, gauge, counter func(d *prometheus.Desc, v float64, labels ...string)) {
	v := st.View
	gauge(cpuPolicy, 1, label(st.Settings.Policy), label(st.Backend))
	for state, n := range map[string]int{"express": v.Express, "normal": v.Normal, "batch": v.Batch, "waiting": v.Waiting, "sleeping": v.Sleeping} {
		gauge(cpuCalls, float64(n), state)
	}
	counter(cpuArrivals, float64(v.Arrivals))
	counter(cpuCommands, float64(v.Demotions), "demotion")
	counter(cpuCommands, float64(v.Boosts), "boost")
	counter(cpuCommands, float64(v.Stops), "stop")
	counter(cpuDeadlines, float64(v.Met), "met")
	counter(cpuDeadlines, float64(v.Missed), "missed")
	gauge(cpuError, v.Error)
	gauge(cpuFairness, st.Fairness)
	counter(cpuSeconds, st.Stats.CPU.Seconds())
	counter(cpuLooks, float64(st.Stats.Looks), "used")
	counter(cpuLooks, float64(st.Stats.Questions), "asked")
	counter(cpuRefused, float64(st.Stats.OneWay), "one_way")
	counter(cpuRefused, float64(st.Stats.Failed), "failed")
	for _, a := range st.Apps[:min(len(st.Apps), NamesMax)] {
		counter(cpuApps, a.CPU.Seconds(), label(a.Name))
	}
}
