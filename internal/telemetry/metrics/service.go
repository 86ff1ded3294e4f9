package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-run/weft/internal/service"
	"github.com/weft-run/weft/internal/service/machine"
)

var _ service.Meter = (*Metrics)(nil)

// method is what is counted of a method of a service.
type method struct {
	ended   *family[string, prometheus.Counter] // by outcome
	seconds prometheus.Observer
}

// services makes what services tell of requests.
func (m *Metrics) services() {
	ended := m.counters("service_requests_total", "Requests to services that have ended, by outcome: ok, failed (its method has returned an error), cancelled, refused (nothing of it has happened).", "app", "service", "method", "outcome")
	seconds := m.histograms("service_request_seconds", "Time from a request's coming to its end.", callBuckets, "app", "service", "method")
	m.ofApps = append(m.ofApps, ended, seconds)
	m.methods = newFamily(NamesMax, otherName, func(n name) *method {
		app := label(n.app)
		of, name, named := strings.Cut(n.of, ".")
		if !named {
			name = Other
		}
		of, name = label(of), label(name)
		return &method{
			seconds: seconds.WithLabelValues(app, of, name),
			ended: newFamily(WordsMax, Other, func(outcome string) prometheus.Counter {
				return ended.WithLabelValues(app, of, name, label(outcome))
			}),
		}
	})
}

// ServiceRequest counts a request to a service that has ended.
func (m *Metrics) ServiceRequest(app, service, of, outcome string, took time.Duration) {
	c := m.methods.get(name{app, service + "." + of})
	c.ended.get(outcome).Inc()
	c.seconds.Observe(seconds(took))
}

var (
	serviceOpen      = describe("service_requests_open", "Requests to services that have not ended, by what they do: queued, delayed, running, waiting, retrying, parked.", "state")
	serviceRetries   = describe("service_retries_total", "Attempts of requests after one that came to nothing by a fault.")
	serviceParked    = describe("service_parked_total", "Requests that were parked, or refused because nothing of them was stored.")
	serviceDiverged  = describe("service_diverged_total", "Requests whose code did not ask the same again.")
	serviceRefused   = describe("service_busy_total", "Requests that were refused because too many waited.")
	serviceLocks     = describe("service_lock_conflicts_total", "Locks that were not free: waits (the request has waited), dies (it has begun its segment anew).", "outcome")
	serviceInstances = describe("service_instances", "Instances of services: busy, idle.", "state")
	serviceJournal   = describe("service_journal_bytes_total", "Bytes of journals that were written.")
	serviceAppends   = describe("service_appends_total", "Batches that services have written to the store.")
	serviceFlushes   = describe("service_flushes_total", "Flushes that a reply or a side effect has waited for.")
	serviceHeld      = describe("service_flush_waits_total", "Replies and side effects that have waited for a flush: by the requests, what each one waits for the disk.")

	serviceDescs = []*prometheus.Desc{serviceOpen, serviceRetries, serviceParked, serviceDiverged, serviceRefused, serviceLocks, serviceInstances, serviceJournal, serviceAppends, serviceFlushes, serviceHeld}
)

// services shows what services have, and have done.
func services(st service.Stats, gauge, counter func(d *prometheus.Desc, v float64, labels ...string)) {
	for state := machine.Queued; state <= machine.Parked; state++ {
		gauge(serviceOpen, float64(st.Requests[state]), state.String())
	}
	counter(serviceRetries, float64(st.Retries))
	counter(serviceParked, float64(st.Parked))
	counter(serviceDiverged, float64(st.Diverged))
	counter(serviceRefused, float64(st.Refused))
	counter(serviceLocks, float64(st.LockWaits), "waits")
	counter(serviceLocks, float64(st.Deaths), "dies")
	gauge(serviceInstances, float64(st.Busy), "busy")
	gauge(serviceInstances, float64(st.Idle), "idle")
	counter(serviceJournal, float64(st.Journal))
	counter(serviceAppends, float64(st.Appends))
	counter(serviceFlushes, float64(st.Flushes))
	counter(serviceHeld, float64(st.Held))
}
