package otlp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/telemetry/otlp"
)

// answers is a collector without a network: it gives one answer after the other,
// and the last one from then on.
type answers struct {
	list []answer
	hold chan struct{} // not nil: requests wait until it is closed

	mu    sync.Mutex
	began time.Time // guarded by mu, as below
	at    []time.Duration
	spans []int
}

type answer struct {
	status int
	after  string // Retry-After
	body   string
	err    error
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	if a.began.IsZero() {
		a.began = time.Now()
	}
	now := a.list[min(len(a.at), len(a.list)-1)]
	a.at = append(a.at, time.Since(a.began))
	a.spans = append(a.spans, strings.Count(string(body), `"spanId"`))
	a.mu.Unlock()
	if a.hold != nil {
		select {
		case <-a.hold:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if now.err != nil {
		return nil, now.err
	}
	h := http.Header{}
	if now.after != "" {
		h.Set("Retry-After", now.after)
	}
	return &http.Response{StatusCode: now.status, Status: fmt.Sprint(now.status, " ", http.StatusText(now.status)), Header: h, Body: io.NopCloser(strings.NewReader(now.body)), Request: r}, nil
}

// seen is when requests have come, and of how many spans.
func (a *answers) seen() (at []time.Duration, spans []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.at), slices.Clone(a.spans)
}

func exporter(t testing.TB, a *answers, o otlp.Options) *otlp.Exporter {
	t.Helper()
	o.Endpoint, o.Transport = "http://collector:4318", a
	x, err := otlp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func stats(t testing.TB, x *otlp.Exporter, exported, dropped, failed uint64) {
	t.Helper()
	if got, want := x.Stats(), (otlp.Stats{Exported: exported, Dropped: dropped, Failed: failed}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestRequest(t *testing.T) {
	c := collect(t)
	x, err := otlp.New(otlp.Options{Endpoint: c.URL + "/otel/", Headers: map[string]string{"Authorization": "Bearer t0ken", "Content-Type": "text/plain"}, Service: "shop", Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	x.Export(otlp.Run{ID: "r-1"}, sample(), "")
	x.Export(otlp.Run{ID: "r-2"}, sample(), "")
	if err := x.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	stats(t, x, 2, 0, 0)
	if len(c.requests) != 1 {
		t.Fatalf("%d requests, want one for both", len(c.requests))
	}
	r := c.requests[0]
	if r.Method != http.MethodPost || r.URL.Path != "/otel/v1/traces" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Authorization") != "Bearer t0ken" || r.UserAgent() != "weft/1.2.3" {
		t.Errorf("%s %s, %v", r.Method, r.URL, r.Header)
	}
	spans, resource := decode(t, c.bodies[0])
	if len(spans) != 2*len(sample().Spans) || resource["service.name"] != "shop" || resource["service.version"] != "1.2.3" {
		t.Errorf("%d spans of %v", len(spans), resource)
	}
}

func TestEndpoints(t *testing.T) {
	tests := []struct{ endpoint, path string }{ // empty path: an error
		{"http://h:4318", "/v1/traces"}, {"http://h:4318/", "/v1/traces"}, {"https://h/a", "/a/v1/traces"},
		{"http://h/v1/traces", "/v1/traces"}, {"", ""}, {"h:4318", ""}, {"grpc://h:4317", ""}, {"http://", ""}, {"http://h:x", ""},
	}
	for _, tt := range tests {
		t.Run(tt.endpoint, func(t *testing.T) {
			path := ""
			x, err := otlp.New(otlp.Options{Endpoint: tt.endpoint, Transport: tripper(func(r *http.Request) (*http.Response, error) {
				path = r.URL.Path
				return nil, errors.New("no")
			}), Patience: 1})
			if tt.path == "" {
				if err == nil || !strings.HasPrefix(err.Error(), "otlp endpoint") {
					t.Fatalf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			x.Export(otlp.Run{ID: "r"}, sample(), "")
			x.Close(t.Context())
			if path != tt.path {
				t.Errorf("path %s, want %s", path, tt.path)
			}
		})
	}
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestRepeats sends one trace to collectors that do not take it at first, or ever.
func TestRepeats(t *testing.T) {
	ok := answer{status: 200}
	s := time.Second
	tests := []struct {
		name     string
		list     []answer
		at       []time.Duration // exact; nil: pauses are drawn, see tries
		tries    int
		exported uint64
	}{
		{"taken", []answer{ok}, []time.Duration{0}, 1, 1},
		{"accepted", []answer{{status: 202}}, []time.Duration{0}, 1, 1},
		{"seconds", []answer{{status: 503, after: "7"}, ok}, []time.Duration{0, 7 * s}, 2, 1},
		{"a date", []answer{{status: 429, after: "Sat, 01 Jan 2000 00:00:21 GMT"}, ok}, []time.Duration{0, 20 * s}, 2, 1},
		{"what says nothing", []answer{{status: 429, after: "soon"}, ok}, nil, 2, 1},
		{"several times", []answer{{status: 500}, {status: 502}, {status: 504}, ok}, nil, 4, 1},
		{"no connection", []answer{{err: errors.New("connection refused")}, ok}, nil, 2, 1},
		{"longer than patience", []answer{{status: 503, after: "61"}, ok}, []time.Duration{0}, 1, 0},
		{"refused", []answer{{status: 400}}, []time.Duration{0}, 1, 0},
		{"refused later", []answer{{status: 503, after: "1"}, {status: 401}}, []time.Duration{0, s}, 2, 0},
		{"moved", []answer{{status: 302}}, []time.Duration{0}, 1, 0},
		{"never", []answer{{status: 503, after: "20"}}, []time.Duration{0, 20 * s, 40 * s, 60 * s}, 4, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{list: tt.list}
				x := exporter(t, a, otlp.Options{})
				x.Export(otlp.Run{ID: "r"}, sample(), "")
				time.Sleep(10 * time.Minute)
				stats(t, x, tt.exported, 0, 1-tt.exported)
				at, _ := a.seen()
				if len(at) != tt.tries || tt.at != nil && !slices.Equal(at, tt.at) {
					t.Errorf("requests at %v, want %d at %v", at, tt.tries, tt.at)
				}
				for i := 1; i < len(at); i++ {
					if tt.at == nil && (at[i]-at[i-1] < 250*time.Millisecond || at[i]-at[i-1] > 15*time.Second) {
						t.Errorf("requests at %v", at)
					}
				}
				x.Close(t.Context())
			})
		})
	}
}

// TestPausesGrow looks at a collector that is away for longer than patience.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []answer{{err: errors.New("connection refused")}}}
		x := exporter(t, a, otlp.Options{Patience: 2 * time.Minute})
		x.Export(otlp.Run{ID: "r"}, sample(), "")
		time.Sleep(5 * time.Minute)
		at, _ := a.seen()
		last := at[len(at)-1]
		if len(at) < 8 || len(at) > 24 || last > 2*time.Minute || last < 100*time.Second {
			t.Errorf("%d requests, the last at %v", len(at), last)
		}
		stats(t, x, 0, 0, 1)
		x.Close(t.Context())
	})
}

// TestTheCollectorsPauseHoldsForTheNextBatch gives up on one batch and still does
// not disturb the collector before the time.
func TestTheCollectorsPauseHoldsForTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []answer{{status: 429, after: "100"}, {status: 200}}}
		x := exporter(t, a, otlp.Options{})
		x.Export(otlp.Run{ID: "r-1"}, sample(), "")
		time.Sleep(5 * time.Second)
		x.Export(otlp.Run{ID: "r-2"}, sample(), "")
		time.Sleep(5 * time.Minute)
		at, _ := a.seen()
		if want := []time.Duration{0, 100 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("requests at %v, want %v", at, want)
		}
		stats(t, x, 1, 0, 1)
		x.Close(t.Context())
	})
}

func TestAFullQueueDropsAndDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []answer{{status: 200}}, hold: make(chan struct{})}
		x := exporter(t, a, otlp.Options{Queue: 3, Timeout: time.Hour})
		x.Export(otlp.Run{ID: "r-0"}, sample(), "")
		time.Sleep(2 * time.Second) // it is with the collector now
		for i := range 5 {
			x.Export(otlp.Run{ID: fmt.Sprint("r-", i+1)}, sample(), "")
		}
		stats(t, x, 0, 2, 0)
		close(a.hold)
		if err := x.Close(t.Context()); err != nil {
			t.Error(err)
		}
		stats(t, x, 4, 2, 0)
		x.Export(otlp.Run{ID: "late"}, sample(), "")
		x.Export(otlp.Run{ID: "nil"}, nil, "")
		stats(t, x, 4, 3, 0)
		if err := x.Close(t.Context()); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
}

func TestTracesThatComeTogetherShareARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []answer{{status: 200}}}
		x := exporter(t, a, otlp.Options{Linger: 2 * time.Second})
		n := len(sample().Spans)
		for range 3 {
			x.Export(otlp.Run{ID: "r"}, sample(), "")
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		x.Export(otlp.Run{ID: "r"}, sample(), "")
		time.Sleep(time.Minute)
		_, sizes := a.seen()
		if want := []int{3 * n, n}; !slices.Equal(sizes, want) {
			t.Errorf("requests of %v spans, want %v", sizes, want)
		}
		x.Close(t.Context())
	})
}

// wide is a trace of n spans and the run's.
func wide(n int) *telemetry.Trace {
	tr := &telemetry.Trace{Start: start}
	for i := range n {
		tr.Spans = append(tr.Spans, telemetry.Span{Kind: telemetry.KindStep, Step: "map", Index: i})
	}
	return tr
}

func TestLongTracesTakeSeveralRequests(t *testing.T) {
	bad, ok := answer{status: 400}, answer{status: 200}
	tests := []struct {
		name             string
		traces           []int // spans of each; that of the run comes on top
		list             []answer
		sizes            []int // of requests
		exported, failed uint64
	}{
		{"all taken", []int{1, 7, 24}, []answer{ok}, []int{10, 10, 10, 5}, 3, 0},
		{"two short ones refused", []int{1, 7, 24}, []answer{bad, ok}, []int{10, 10, 10, 5}, 1, 2},
		{"the middle of a long one refused", []int{1, 7, 24}, []answer{ok, ok, bad, ok}, []int{10, 10, 10, 5}, 2, 1},
		{"its end refused", []int{1, 7, 24}, []answer{ok, ok, ok, bad}, []int{10, 10, 10, 5}, 2, 1},
		{"a short one and the beginning of a long one refused", []int{1, 24}, []answer{bad, ok}, []int{10, 10, 7}, 0, 2},
		{"nobody there", []int{1, 7, 24}, []answer{{status: 503, after: "1000"}, ok}, []int{10}, 0, 3},
		{"nobody there any more", []int{1, 24}, []answer{ok, {status: 503, after: "1000"}, ok}, []int{10, 10}, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{list: tt.list}
				x := exporter(t, a, otlp.Options{Spans: 10})
				for i, n := range tt.traces {
					x.Export(otlp.Run{ID: fmt.Sprint("r-", i)}, wide(n), "")
				}
				time.Sleep(time.Hour)
				x.Close(t.Context())
				if _, sizes := a.seen(); !slices.Equal(sizes, tt.sizes) {
					t.Errorf("requests of %v spans, want %v", sizes, tt.sizes)
				}
				stats(t, x, tt.exported, 0, tt.failed)
			})
		})
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{list: []answer{{status: 503, after: "30"}}}
		x := exporter(t, a, otlp.Options{})
		x.Export(otlp.Run{ID: "r-1"}, sample(), "")
		x.Export(otlp.Run{ID: "r-2"}, sample(), "")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		err := x.Close(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 of them") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
		stats(t, x, 0, 0, 2)
	})
}

func TestWhatIsLostIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		a := &answers{list: []answer{{status: 400}, {status: 400}, {status: 200, body: `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}`}}}
		x := exporter(t, a, otlp.Options{Headers: map[string]string{"Authorization": "Bearer t0ken"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for _, pause := range []time.Duration{5 * time.Second, time.Minute, time.Minute} {
			x.Export(otlp.Run{ID: "r"}, sample(), "")
			time.Sleep(pause)
		}
		x.Close(t.Context())
		stats(t, x, 1, 0, 2)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "answered 400 Bad Request") || !strings.Contains(lines[1], "rejected=3") || !strings.Contains(lines[1], "too old") {
			t.Errorf("logged\n%s", log.String())
		}
		if strings.Contains(log.String(), "t0ken") {
			t.Error("a header is in the log")
		}
	})
}

func BenchmarkExport(b *testing.B) {
	a := &answers{list: []answer{{status: 200}}}
	x, err := otlp.New(otlp.Options{Endpoint: "http://h", Transport: a})
	if err != nil {
		b.Fatal(err)
	}
	tr := sample()
	b.ReportAllocs()
	for b.Loop() {
		x.Export(otlp.Run{ID: "r"}, tr, "")
	}
	x.Close(b.Context())
}
