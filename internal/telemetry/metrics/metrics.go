package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins the name of every metric of weft's.
const namespace = "weft"

// Metrics counts what a node does. It is safe for concurrent use; New makes it,
// and there is nothing to close.
type Metrics struct {
	registry *prometheus.Registry
	logger   *slog.Logger

	workflows   *family[name, *workflow]
	calls       *family[name, *call]
	invocations *family[name, *invocation]
	routes      *family[string, *route]
	methods     *family[name, *method]
	steps       *family[string, prometheus.Counter]
	moved       *family[string, prometheus.Counter]
	refused     *family[string, prometheus.Counter]

	modules, saved, journal prometheus.Counter

	ofApps []vector // what has a label "app"
	totals totals
}

// vector is what an app's deletion takes series out of.
type vector interface {
	DeletePartialMatch(prometheus.Labels) int
}

// workflow is what is counted of a workflow.
type workflow struct {
	started prometheus.Counter
	ended   *family[string, prometheus.Counter] // by status
	seconds prometheus.Observer
}

// call is what is counted of the calls of a function in runs.
type call struct {
	ended   *family[string, prometheus.Counter] // by outcome
	seconds prometheus.Observer
	queue   prometheus.Observer
}

// invocation is what is counted of the invocations of a function without a run.
type invocation struct {
	codes   *family[string, prometheus.Counter]
	seconds prometheus.Observer
}

// route is what is counted of requests.
type route struct {
	codes   *family[string, prometheus.Counter]
	seconds prometheus.Observer
}

// Buckets of the histograms, in seconds. Calls of a loaded function take tens of
// microseconds, those of real work seconds; runs may take hours.
var (
	callBuckets  = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60}
	queueBuckets = []float64{.00005, .0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 30, 300}
	runBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}
)

// New makes the metrics of a node. Nil sources show nothing.
func New(s Sources) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), logger: s.Logger}
	if m.logger == nil {
		m.logger = slog.New(slog.DiscardHandler)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&scrape{s},
	)
	m.runs()
	m.functions()
	m.requests()
	m.services()
	m.modules = m.counter("module_loads_total", "Modules of the system interface that calls have loaded on first use.")
	m.saved = m.counter("saved_bytes_total", "Bytes of buffers and large values that were written to the data folder for runs to survive.")
	m.journal = m.counter("journal_bytes_total", "Bytes of keys and values that runs have written to the store.")
	return m
}

// runs makes what engines tell of runs and their steps.
func (m *Metrics) runs() {
	started := m.counters("runs_started_total", "Runs that were accepted.", "app", "workflow")
	ended := m.counters("runs_total", "Runs that have ended, by status: succeeded, failed, cancelled.", "app", "workflow", "status")
	seconds := m.histograms("run_seconds", "Time from accepting a run to its end.", runBuckets, "app", "workflow")
	m.ofApps = append(m.ofApps, started, ended, seconds)
	m.workflows = newFamily(NamesMax, otherName, func(n name) *workflow {
		app, of := label(n.app), label(n.of)
		return &workflow{
			started: started.WithLabelValues(app, of),
			seconds: seconds.WithLabelValues(app, of),
			ended: newFamily(WordsMax, Other, func(status string) prometheus.Counter {
				return ended.WithLabelValues(app, of, label(status))
			}),
		}
	})
	m.steps = m.words("steps_total", "Steps that have ended, by status: succeeded, failed, skipped, caught.", "status")
}

// functions makes what is counted of functions: in runs, and of invocations.
func (m *Metrics) functions() {
	ended := m.counters("calls_total", "Attempts of calls in runs that were given to a sandbox, by outcome: ok, stopped, or the kind of failure.", "app", "function", "outcome")
	seconds := m.histograms("call_seconds", "Time of one attempt of a call in a run, from its launch to its result.", callBuckets, "app", "function")
	queue := m.histograms("queue_seconds", "Time that calls in runs have waited before their launch: for the disk, for concurrency, for admission.", queueBuckets, "app")
	m.ofApps = append(m.ofApps, ended, seconds, queue)
	m.calls = newFamily(NamesMax, otherName, func(n name) *call {
		app, of := label(n.app), label(n.of)
		return &call{
			seconds: seconds.WithLabelValues(app, of),
			queue:   queue.WithLabelValues(app),
			ended: newFamily(WordsMax, Other, func(outcome string) prometheus.Counter {
				return ended.WithLabelValues(app, of, label(outcome))
			}),
		}
	})
	m.moved = m.words("buffer_bytes_total", "Bytes that calls in runs were handed: reference (mapped), copied (too small to be mapped), file, spilled (standard output that became a buffer).", "how")

	codes := m.counters("invocations_total", "Invocations of functions without a run, by HTTP code.", "app", "function", "code")
	took := m.histograms("invocation_seconds", "Time of an invocation of a function without a run, waiting included.", callBuckets, "app", "function")
	m.ofApps = append(m.ofApps, codes, took)
	m.invocations = newFamily(NamesMax, otherName, func(n name) *invocation {
		app, of := label(n.app), label(n.of)
		return &invocation{
			seconds: took.WithLabelValues(app, of),
			codes: newFamily(WordsMax, Other, func(code string) prometheus.Counter {
				return codes.WithLabelValues(app, of, label(code))
			}),
		}
	})
}

// requests makes what the API tells.
func (m *Metrics) requests() {
	codes := m.counters("http_requests_total", "Requests of the API, by route and HTTP code.", "route", "code")
	seconds := m.histograms("http_request_seconds", "Time from a request's header to the end of its answer.", callBuckets, "route")
	m.routes = newFamily(RoutesMax, Other, func(r string) *route {
		r = label(r)
		return &route{
			seconds: seconds.WithLabelValues(r),
			codes: newFamily(WordsMax, Other, func(code string) prometheus.Counter {
				return codes.WithLabelValues(r, label(code))
			}),
		}
	})
	m.refused = m.words("refused_total", "Runs, invocations and requests that were refused, by reason.", "reason")
}

// label makes s fit for a label: Prometheus knows UTF-8 alone.
func label(s string) string { return strings.ToValidUTF8(s, "�") }

func (m *Metrics) counter(metric, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: metric, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(metric, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: metric, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

// words is a counter for every word of a closed set.
func (m *Metrics) words(metric, help, what string) *family[string, prometheus.Counter] {
	v := m.counters(metric, help, what)
	return newFamily(WordsMax, Other, func(word string) prometheus.Counter { return v.WithLabelValues(label(word)) })
}

func (m *Metrics) histograms(metric, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: metric, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

// Forget drops what was counted of an app that was deleted, and makes room for
// other names.
func (m *Metrics) Forget(app string) {
	mine := func(n name) bool { return n.app == app }
	m.workflows.drop(mine, func() {
		m.calls.drop(mine, func() {
			m.invocations.drop(mine, func() {
				m.methods.drop(mine, func() {
					for _, v := range m.ofApps {
						v.DeletePartialMatch(prometheus.Labels{"app": label(app)})
					}
				})
			})
		})
	})
}

// scrapesMax is how many scrapes may be under way; further ones get 503.
const scrapesMax = 4

// Handler answers scrapes with the text exposition format, compressed if the
// client takes that. Who may ask is the caller's business.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            failures{m.logger},
		ErrorHandling:       promhttp.ContinueOnError, // what can be shown is worth more than an error page
		MaxRequestsInFlight: scrapesMax,
	})
}

// failures logs what could not be collected.
type failures struct{ logger *slog.Logger }

func (f failures) Println(v ...any) {
	f.logger.Warn("a scrape of the metrics is not complete", "error", fmt.Sprint(v...))
}
