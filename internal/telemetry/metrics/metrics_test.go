package metrics_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weft-run/weft/internal/admission"
	"github.com/weft-run/weft/internal/sandbox/domain"
	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
	"github.com/weft-run/weft/internal/store/pebble"
	"github.com/weft-run/weft/internal/telemetry/metrics"
	"github.com/weft-run/weft/internal/telemetry/otlp"
)

// scrape reads what m shows, as a map from "name{label=value,…}" to its value;
// of histograms the sum and the count.
func scrape(t testing.TB, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, req)
	if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "gzip" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("status %d, header %v", w.Code, w.Header())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(z)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, s := range f.Metric {
			var labels []string
			for _, l := range s.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			key := "{" + strings.Join(labels, ",") + "}"
			switch {
			case s.Counter != nil:
				if !strings.HasSuffix(name, "_total") {
					t.Errorf("counter %s does not end in _total", name)
				}
				out[name+key] = s.Counter.GetValue()
			case s.Gauge != nil:
				out[name+key] = s.Gauge.GetValue()
			case s.Histogram != nil:
				out[name+"_sum"+key] = s.Histogram.GetSampleSum()
				out[name+"_count"+key] = float64(s.Histogram.GetSampleCount())
			}
		}
	}
	return out
}

// expect compares those series of got that are named in want.
func expect(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			t.Errorf("%s is %v (there: %v), want %v", k, g, ok, v)
		}
	}
}

func TestWhatIsToldIsShown(t *testing.T) {
	m := metrics.New(metrics.Sources{})
	m.RunStarted("shop", "main")
	m.RunStarted("shop", "main")
	m.RunEnded("shop", "main", "succeeded", 2*time.Second)
	m.RunEnded("shop", "main", "failed", time.Second)
	m.StepEnded("succeeded")
	m.StepEnded("caught")
	m.StepEnded("succeeded")
	m.CallEnded("shop", "count", "ok", 250*time.Millisecond, 500*time.Millisecond)
	m.CallEnded("shop", "count", "exit", 250*time.Millisecond, -time.Second)
	m.ModulesLoaded(3)
	m.BufferBytes("reference", 4096)
	m.BufferBytes("reference", -1) // hosts are not believed
	m.BytesSaved(10)
	m.JournalBytes(20)
	m.Invocation("shop", "resize", "200", 125*time.Millisecond)
	m.Invocation("shop", "resize", "429", 0)
	m.Request("GET /v1/runs/{id}", 404, 500*time.Millisecond)
	m.Request("GET /v1/runs/{id}", 200, 500*time.Millisecond)
	m.Request("GET /v1/runs/{id}", 77, 0)
	m.Refused(metrics.RefusedQueue)
	m.ServiceRequest("shop", "bank", "add", "ok", 250*time.Millisecond)
	m.ServiceRequest("shop", "bank", "add", "failed", 250*time.Millisecond)
	expect(t, scrape(t, m), map[string]float64{
		"weft_runs_started_total{app=shop,workflow=main}":                              2,
		"weft_runs_total{app=shop,status=succeeded,workflow=main}":                     1,
		"weft_runs_total{app=shop,status=failed,workflow=main}":                        1,
		"weft_run_seconds_sum{app=shop,workflow=main}":                                 3,
		"weft_run_seconds_count{app=shop,workflow=main}":                               2,
		"weft_steps_total{status=succeeded}":                                           2,
		"weft_steps_total{status=caught}":                                              1,
		"weft_calls_total{app=shop,function=count,outcome=ok}":                         1,
		"weft_calls_total{app=shop,function=count,outcome=exit}":                       1,
		"weft_call_seconds_sum{app=shop,function=count}":                               0.5,
		"weft_call_seconds_count{app=shop,function=count}":                             2,
		"weft_queue_seconds_sum{app=shop}":                                             0.5,
		"weft_module_loads_total{}":                                                    3,
		"weft_buffer_bytes_total{how=reference}":                                       4096,
		"weft_saved_bytes_total{}":                                                     10,
		"weft_journal_bytes_total{}":                                                   20,
		"weft_invocations_total{app=shop,code=200,function=resize}":                    1,
		"weft_invocations_total{app=shop,code=429,function=resize}":                    1,
		"weft_invocation_seconds_sum{app=shop,function=resize}":                        0.125,
		"weft_http_requests_total{code=404,route=GET /v1/runs/{id}}":                   1,
		"weft_http_requests_total{code=200,route=GET /v1/runs/{id}}":                   1,
		"weft_http_requests_total{code=" + metrics.Other + ",route=GET /v1/runs/{id}}": 1,
		"weft_http_request_seconds_sum{route=GET /v1/runs/{id}}":                       1,
		"weft_refused_total{reason=queue}":                                             1,
		"weft_service_requests_total{app=shop,method=add,outcome=ok,service=bank}":     1,
		"weft_service_requests_total{app=shop,method=add,outcome=failed,service=bank}": 1,
		"weft_service_request_seconds_sum{app=shop,method=add,service=bank}":           0.5,
	})
}

func TestSourcesAreReadWhenSomebodyScrapes(t *testing.T) {
	reads := 0
	m := metrics.New(metrics.Sources{
		Version: "v1.2.3",
		Gate: func() admission.Stats {
			reads++
			return admission.Stats{Running: 3, Waiting: 2, Memory: 64, MemoryLimit: 128, Functions: []admission.FunctionStats{{App: "shop", Function: "count", Running: 3, Waiting: 2}}}
		},
		Pool: func() domain.Stats {
			return domain.Stats{Ready: 1, Idle: 2, Busy: 3, Starting: 4, Memory: 5, Warm: 6, Clean: 7, Cold: 8, Prepared: 9, Evicted: 10, Expired: 11, Retired: 12}
		},
		Store: func() pebble.Stats {
			return pebble.Stats{Appends: 1, Flushes: 2, FlushTime: 1500 * time.Millisecond, Bytes: 3}
		},
		Traces: func() otlp.Stats { return otlp.Stats{Exported: 1, Dropped: 2, Failed: 3} },
		Services: func() service.Stats {
			return service.Stats{Stats: machine.Stats{Retries: 1, Parked: 2, LockWaits: 3, Deaths: 4, Diverged: 5, Refused: 6, Journal: 7, Requests: map[machine.State]int{machine.Waiting: 8}}, Appends: 9, Flushes: 10, Held: 11, Busy: 12, Idle: 13}
		},
		Runs:   func() int { return 42 },
		Data:   func() int64 { return 43 },
		Memory: map[string]func() int64{"node": func() int64 { return 44 }},
	})
	m.RunStarted("shop", "main")
	if reads != 0 {
		t.Errorf("%d reads of a source without a scrape", reads)
	}
	got := scrape(t, m)
	if reads != 1 {
		t.Errorf("%d reads of a source by one scrape", reads)
	}
	expect(t, got, map[string]float64{
		"weft_build_info{version=v1.2.3}":                            1,
		"weft_admission_calls{state=running}":                        3,
		"weft_admission_calls{state=waiting}":                        2,
		"weft_admission_memory_bytes{}":                              64,
		"weft_admission_memory_limit_bytes{}":                        128,
		"weft_function_calls{app=shop,function=count,state=running}": 3,
		"weft_function_calls{app=shop,function=count,state=waiting}": 2,
		"weft_hosts{state=ready}":                                    1,
		"weft_hosts{state=idle}":                                     2,
		"weft_hosts{state=busy}":                                     3,
		"weft_hosts{state=starting}":                                 4,
		"weft_memory_bytes{part=sandboxes}":                          5,
		"weft_memory_bytes{part=node}":                               44,
		"weft_starts_total{kind=warm}":                               6,
		"weft_starts_total{kind=clean}":                              7,
		"weft_starts_total{kind=cold}":                               8,
		"weft_functions_prepared_total{}":                            9,
		"weft_hosts_ended_total{why=evicted}":                        10,
		"weft_hosts_ended_total{why=expired}":                        11,
		"weft_hosts_ended_total{why=retired}":                        12,
		"weft_store_appends_total{}":                                 1,
		"weft_service_requests_open{state=waiting}":                  8,
		"weft_service_requests_open{state=parked}":                   0,
		"weft_service_retries_total{}":                               1,
		"weft_service_parked_total{}":                                2,
		"weft_service_lock_conflicts_total{outcome=waits}":           3,
		"weft_service_lock_conflicts_total{outcome=dies}":            4,
		"weft_service_diverged_total{}":                              5,
		"weft_service_busy_total{}":                                  6,
		"weft_service_journal_bytes_total{}":                         7,
		"weft_service_appends_total{}":                               9,
		"weft_service_flushes_total{}":                               10,
		"weft_service_flush_waits_total{}":                           11,
		"weft_service_instances{state=busy}":                         12,
		"weft_service_instances{state=idle}":                         13,
		"weft_store_flushes_total{}":                                 2,
		"weft_store_flush_seconds_total{}":                           1.5,
		"weft_store_bytes_total{}":                                   3,
		"weft_traces_total{outcome=exported}":                        1,
		"weft_traces_total{outcome=dropped}":                         2,
		"weft_traces_total{outcome=failed}":                          3,
		"weft_runs_open{}":                                           42,
		"weft_data_bytes{}":                                          43,
	})
	for _, k := range []string{"go_goroutines{}", "process_resident_memory_bytes{}"} {
		if got[k] <= 0 {
			t.Errorf("%s is %v", k, got[k])
		}
	}
}

func TestNilSourcesShowNothing(t *testing.T) {
	for k := range scrape(t, metrics.New(metrics.Sources{})) {
		for _, absent := range []string{"weft_hosts", "weft_store", "weft_admission", "weft_runs_open", "weft_memory", "weft_traces", "weft_build_info"} {
			if strings.HasPrefix(k, absent) {
				t.Errorf("%s without a source", k)
			}
		}
	}
}

// TestNamesAreBounded throws more names at the metrics than they tell apart.
func TestNamesAreBounded(t *testing.T) {
	m := metrics.New(metrics.Sources{})
	const more = 50
	for i := range metrics.NamesMax + more {
		app := fmt.Sprintf("app-%d", i)
		m.RunStarted(app, "main")
		m.CallEnded(app, "f", "ok", 0, 0)
		m.Invocation(app, "f", "200", 0)
	}
	for i := range metrics.RoutesMax + more {
		m.Request(fmt.Sprintf("GET /%d", i), 200, 0)
	}
	for i := range metrics.WordsMax + more {
		m.StepEnded(fmt.Sprint(i))
		m.CallEnded("app-1", "f", fmt.Sprint("kind", i), 0, 0)
	}
	got := scrape(t, m)
	count := map[string]int{}
	for k := range got {
		count[k[:strings.IndexByte(k, '{')]]++
	}
	for name, want := range map[string]int{
		"weft_runs_started_total":       metrics.NamesMax + 1,
		"weft_call_seconds_count":       metrics.NamesMax + 1,
		"weft_queue_seconds_count":      metrics.NamesMax + 1,
		"weft_invocations_total":        metrics.NamesMax + 1,
		"weft_invocation_seconds_count": metrics.NamesMax + 1,
		"weft_http_requests_total":      metrics.RoutesMax + 1,
		"weft_steps_total":              metrics.WordsMax + 1,
		"weft_calls_total":              metrics.NamesMax + metrics.WordsMax + 1,
	} {
		if count[name] != want {
			t.Errorf("%d series of %s, want %d", count[name], name, want)
		}
	}
	expect(t, got, map[string]float64{
		"weft_runs_started_total{app=_other,workflow=_other}":         more,
		"weft_http_requests_total{code=200,route=_other}":             more,
		"weft_steps_total{status=_other}":                             more,
		"weft_calls_total{app=_other,function=_other,outcome=ok}":     more,
		"weft_calls_total{app=app-1,function=f,outcome=_other}":       more + 1,
		"weft_invocations_total{app=_other,code=200,function=_other}": more,
	})
}

func TestForgetMakesRoom(t *testing.T) {
	m := metrics.New(metrics.Sources{})
	count := func(app string) {
		m.RunStarted(app, "main")
		m.RunEnded(app, "main", "succeeded", 0)
		m.CallEnded(app, "f", "ok", 0, 0)
		m.Invocation(app, "f", "200", 0)
	}
	count("kept")
	for i := range metrics.NamesMax + 10 {
		app := fmt.Sprintf("app-%d", i)
		count(app)
		m.Forget(app)
	}
	for k := range scrape(t, m) {
		if strings.Contains(k, "app=") && !strings.Contains(k, "app=kept") {
			t.Errorf("%s of an app that is forgotten", k)
		}
	}
	m.Forget("kept")
	count("kept")
	expect(t, scrape(t, m), map[string]float64{"weft_runs_started_total{app=kept,workflow=main}": 1, "weft_queue_seconds_count{app=kept}": 1})
}

func TestLabelsThatAreNotText(t *testing.T) {
	m := metrics.New(metrics.Sources{Version: "\xff"})
	m.RunStarted("a\xff", "w\xfe")
	m.CallEnded("a", "\xff", "\xff", 0, 0)
	m.Request("\xff", 200, 0)
	m.Forget("a\xff")
	got := scrape(t, m)
	expect(t, got, map[string]float64{"weft_calls_total{app=a,function=�,outcome=�}": 1})
	if _, ok := got["weft_runs_started_total{app=a�,workflow=w�}"]; ok {
		t.Error("it was not forgotten")
	}
}

// TestManyAtATime counts from many goroutines while others scrape and forget;
// nothing that was counted of an app that stays is lost.
func TestManyAtATime(t *testing.T) {
	m := metrics.New(metrics.Sources{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				m.CallEnded("stays", fmt.Sprint("f", i%20), "ok", 0, time.Millisecond)
				m.RunStarted(fmt.Sprint("goes-", g), "main")
				if i%50 == 0 {
					m.Forget(fmt.Sprint("goes-", g))
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			io.Copy(io.Discard, w.Body)
		}
	})
	wg.Wait()
	got := scrape(t, m)
	for i := range 20 {
		expect(t, got, map[string]float64{fmt.Sprintf("weft_calls_total{app=stays,function=f%d,outcome=ok}", i): 200})
	}
}

func BenchmarkCallEnded(b *testing.B) {
	m := metrics.New(metrics.Sources{})
	for i := range 100 {
		m.CallEnded(fmt.Sprintf("app-%d", i), "count", "ok", 0, 0)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.CallEnded("app-7", "count", "ok", 20*time.Microsecond, 900*time.Microsecond)
	}
}

func BenchmarkCallEndedParallel(b *testing.B) {
	m := metrics.New(metrics.Sources{})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.CallEnded("app-7", "count", "ok", 20*time.Microsecond, 900*time.Microsecond)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	m := metrics.New(metrics.Sources{})
	for i := range metrics.NamesMax {
		m.CallEnded(fmt.Sprintf("app-%d", i), "count", "ok", 0, 0)
	}
	for b.Loop() {
		m.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	}
}
