package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-run/weft/internal/telemetry"
)

// Options configure an Exporter. Endpoint is always there.
type Options struct {
	// Endpoint is the URL of the collector: "http://localhost:4318". The path
	// "/v1/traces" is added unless it ends so.
	Endpoint string
	// Headers go along with every request, for a token for example.
	Headers map[string]string
	// Service is the name that traces are found under. Default "weft".
	Service string
	// Version is that of weft; empty: it is not said.
	Version string
	// Queue is how many traces may wait. Default 256.
	Queue int
	// Spans is how many of them a request holds. Default 1000.
	Spans int
	// Linger is how long a trace waits for others that go with the same request.
	// Default 1 second.
	Linger time.Duration
	// Timeout bounds one request. Default 10 seconds.
	Timeout time.Duration
	// Patience is how long a request is repeated that the collector does not take.
	// Default 1 minute.
	Patience time.Duration
	// Logger is told what is lost, at most twice a minute. Nil: nobody is.
	Logger *slog.Logger
	// Transport carries the requests. Default: one like http.DefaultTransport.
	Transport http.RoundTripper
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Service == "" {
		o.Service = "weft"
	}
	if o.Queue <= 0 {
		o.Queue = 256
	}
	if o.Spans <= 0 {
		o.Spans = 1000
	}
	if o.Linger <= 0 {
		o.Linger = time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate checks the endpoint.
func (o *Options) Validate() error {
	_, err := o.target()
	return err
}

// target is the URL of requests.
func (o *Options) target() (*url.URL, error) {
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil:
		return nil, fmt.Errorf("otlp endpoint: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("otlp endpoint %q: it has to be a URL like http://localhost:4318", o.Endpoint)
	}
	if !strings.HasSuffix(u.Path, tracesPath) {
		u.Path = strings.TrimSuffix(u.Path, "/") + tracesPath
	}
	return u, nil
}

const tracesPath = "/v1/traces"

// Stats counts traces since the exporter was made.
type Stats struct {
	Exported uint64 // the collector has taken them
	Dropped  uint64 // the queue was full, or the exporter closed
	Failed   uint64 // the collector has refused them, or could not take them for too long
}

// Exporter sends traces. It is safe for concurrent use. Close it.
type Exporter struct {
	o      Options
	target *url.URL
	client *http.Client
	owned  *http.Transport // nil: somebody else's

	ctx    context.Context // ends when Close must not wait any longer
	cancel context.CancelFunc
	over   chan struct{} // closed when the goroutine has ended

	queue   chan item
	closing chan struct{} // closed by Close
	mu      sync.RWMutex
	closed  bool // guarded by mu: nothing comes into the queue after that

	rest  time.Time // the collector wants no request before; of the goroutine
	spoke time.Time // when something was logged last; of the goroutine

	exported, dropped, failed atomic.Uint64
}

// item is a trace in the queue.
type item struct {
	run    Run
	trace  *telemetry.Trace
	parent string
}

// New makes an exporter. It does not connect yet; the error is that of Validate.
func New(o Options) (*Exporter, error) {
	o.EnsureDefaults()
	target, err := o.target()
	if err != nil {
		return nil, err
	}
	x := &Exporter{o: o, target: target, over: make(chan struct{}), queue: make(chan item, o.Queue), closing: make(chan struct{})}
	if o.Transport == nil {
		x.owned = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: o.Timeout}
		o.Transport = x.owned
	}
	x.client = &http.Client{Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // headers with a token go nowhere else
	}}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	go x.work()
	return x, nil
}

// Export sends the trace of a run that has ended, some time later; it does not
// wait. The trace must not change any more. parent is the traceparent that the
// run was started with, or empty; what is none counts as empty.
func (x *Exporter) Export(run Run, t *telemetry.Trace, parent string) {
	if p, err := telemetry.ParseTraceparent(parent); t == nil || err == nil && !p.Sampled() {
		return
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if !x.closed {
		select {
		case x.queue <- item{run, t, parent}:
			return
		default:
		}
	}
	x.dropped.Add(1)
}

// Stats says what has become of traces.
func (x *Exporter) Stats() Stats {
	return Stats{Exported: x.exported.Load(), Dropped: x.dropped.Load(), Failed: x.failed.Load()}
}

// Close sends what waits, and returns when nothing is left to send or ctx has
// ended: then the rest is lost, and the error says so. Calling it again does
// nothing.
func (x *Exporter) Close(ctx context.Context) error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		<-x.over
		return nil
	}
	x.closed = true
	x.mu.Unlock()
	before := x.failed.Load()
	close(x.closing)
	defer x.cancel()
	var err error
	select {
	case <-x.over:
	case <-ctx.Done():
		err = ctx.Err()
		x.cancel()
		<-x.over
	}
	if x.owned != nil {
		x.owned.CloseIdleConnections()
	}
	if lost := x.failed.Load() - before; lost > 0 {
		return errors.Join(fmt.Errorf("close the exporter of traces: %d of them could not be sent", lost), err)
	}
	return nil
}

// work is the exporter's goroutine: it gathers batches and sends them.
func (x *Exporter) work() {
	defer close(x.over)
	for {
		select {
		case first := <-x.queue:
			x.send(x.gather(first))
		case <-x.closing:
			for {
				select {
				case first := <-x.queue:
					x.send(x.gather(first))
				default:
					return
				}
			}
		}
	}
}

// gather takes traces out of the queue until there are enough spans for a
// request, Linger is over, or the exporter closes and the queue is empty.
func (x *Exporter) gather(first item) []item {
	batch := []item{first}
	spans := len(first.trace.Spans)
	late := time.NewTimer(x.o.Linger)
	defer late.Stop()
	add := func(next item) {
		batch = append(batch, next)
		spans += len(next.trace.Spans)
	}
	for spans < x.o.Spans {
		select {
		case next := <-x.queue:
			add(next)
			continue
		default:
		}
		select {
		case next := <-x.queue:
			add(next)
		case <-late.C:
			return batch
		case <-x.closing: // nothing comes into the queue any more
			if len(x.queue) == 0 {
				return batch
			}
		}
	}
	return batch
}
