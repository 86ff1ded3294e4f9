package otlp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-run/weft/internal/telemetry"
	"github.com/weft-run/weft/internal/telemetry/otlp"
)

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
)

// The JSON of OTLP as a collector reads it; what is not here is refused.
type received struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes attributes }
		ScopeSpans []struct {
			Scope struct{ Name, Version string }
			Spans []spanJSON
		}
	}
}

type spanJSON struct {
	TraceID           string
	SpanID            string
	ParentSpanID      string
	Flags             uint32
	Name              string
	Kind              int
	StartTimeUnixNano string
	EndTimeUnixNano   string
	Attributes        attributes
	Status            struct {
		Code    int
		Message string
	}
}

type attributes []struct {
	Key   string
	Value struct {
		StringValue *string
		BoolValue   *bool
		IntValue    *string // a string: int64
		DoubleValue *float64
	}
}

// all is the attributes as text, with their types.
func (a attributes) all(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, kv := range a {
		if _, twice := out[kv.Key]; twice {
			t.Errorf("attribute %s twice", kv.Key)
		}
		switch v := kv.Value; {
		case v.StringValue != nil:
			out[kv.Key] = *v.StringValue
		case v.IntValue != nil:
			if _, err := strconv.ParseInt(*v.IntValue, 10, 64); err != nil {
				t.Errorf("attribute %s: %v", kv.Key, err)
			}
			out[kv.Key] = "int " + *v.IntValue
		case v.BoolValue != nil:
			out[kv.Key] = fmt.Sprint("bool ", *v.BoolValue)
		case v.DoubleValue != nil:
			out[kv.Key] = fmt.Sprint("double ", *v.DoubleValue)
		default:
			t.Errorf("attribute %s has no value", kv.Key)
		}
	}
	return out
}

// decode reads a request and checks what holds for all of them.
func decode(t testing.TB, body []byte) (spans []spanJSON, resource map[string]string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	var r received
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if len(r.ResourceSpans) != 1 || len(r.ResourceSpans[0].ScopeSpans) != 1 || r.ResourceSpans[0].ScopeSpans[0].Scope.Name == "" {
		t.Fatalf("not one resource with one scope: %s", body)
	}
	spans = r.ResourceSpans[0].ScopeSpans[0].Spans
	for _, s := range spans {
		if !lowerHex(s.TraceID, 32) || !lowerHex(s.SpanID, 16) || s.ParentSpanID != "" && !lowerHex(s.ParentSpanID, 16) || s.Name == "" || s.Kind < 1 || s.Kind > 5 {
			t.Errorf("malformed %+v", s)
		}
		start, err := strconv.ParseUint(s.StartTimeUnixNano, 10, 64)
		end, err2 := strconv.ParseUint(s.EndTimeUnixNano, 10, 64)
		if err != nil || err2 != nil || end < start {
			t.Errorf("span %s from %s to %s", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
	}
	return spans, r.ResourceSpans[0].Resource.Attributes.all(t)
}

func lowerHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == "" && strings.Trim(s, "0") != ""
}

// collector keeps what it is sent.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request // guarded by mu, as below
	bodies   [][]byte
}

func collect(t testing.TB) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests, c.bodies = append(c.requests, r), append(c.bodies, body)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"partialSuccess":{}}`)
	}))
	t.Cleanup(c.Close)
	return c
}

// exportAll sends one run to a collector and returns the spans that it gets.
func exportAll(t testing.TB, run otlp.Run, tr *telemetry.Trace, parent string) []spanJSON {
	t.Helper()
	c := collect(t)
	x, err := otlp.New(otlp.Options{Endpoint: c.URL})
	if err != nil {
		t.Fatal(err)
	}
	x.Export(run, tr, parent)
	if err := x.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all []spanJSON
	for _, b := range c.bodies {
		spans, _ := decode(t, b)
		all = append(all, spans...)
	}
	return all
}

func ms(n float64) time.Duration { return time.Duration(n * 1e6) }

var start = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// sample has a foreach, a retried attempt, a catch, and workflows that call one
// another from a step and from an item.
func sample() *telemetry.Trace {
	no := telemetry.NoIndex
	step := func(name string, index int, from, to float64) telemetry.Span {
		return telemetry.Span{Kind: telemetry.KindStep, Step: name, Index: index, Start: ms(from), End: ms(to)}
	}
	call := func(fn, step string, index, attempt int, from, to float64, attrs ...telemetry.Attr) telemetry.Span {
		return telemetry.Span{Kind: telemetry.KindAttempt, Name: fn, Step: step, Index: index, Attempt: attempt, Host: "host 1", Start: ms(from), End: ms(to), Attrs: attrs}
	}
	mark := func(kind telemetry.Kind, name, step string, index, attempt int, at float64, attrs ...telemetry.Attr) telemetry.Span {
		return telemetry.Span{Kind: kind, Name: name, Step: step, Index: index, Attempt: attempt, Host: "host 1", Start: ms(at), End: ms(at), Attrs: attrs}
	}
	bad := telemetry.Attr{Key: "error", Value: "exit status 2"}
	return &telemetry.Trace{Run: "r-1", Start: start, Spans: []telemetry.Span{
		{Kind: telemetry.KindRun, Name: "main", Index: no, End: ms(100)},
		{Kind: telemetry.KindHost, Host: "host 1", Index: no, Start: ms(1), End: ms(99)},
		step("split", no, 1, 10),
		call("split", "split", no, 1, 2, 10, telemetry.Attr{Key: "cpu", Value: "1.5ms"}, telemetry.Attr{Key: "memory", Value: "65536"}),
		mark(telemetry.KindModule, "fs", "split", no, 1, 3),
		mark(telemetry.KindPut, "split/a", "split", no, 1, 9, telemetry.Attr{Key: "bytes", Value: "9007199254740993"}),
		step("count", no, 10, 40),
		step("count", 0, 10, 30),
		step("count", 1, 10, 40),
		call("count", "count", 0, 1, 11, 30),
		call("count", "count", 1, 1, 11, 20, bad),
		call("count", "count", 1, 2, 21, 30, bad),
		call("mend", "count", 1, 2, 31, 40),
		mark(telemetry.KindTake, "split/a", "count", 1, 2, 32),
		step("each", no, 40, 80),
		step("each[1].inner", no, 41, 50),
		call("f", "each[1].inner", no, 1, 41, 50),
		step("sub", no, 50, 90),
		step("sub.deep", 3, 51, 60),
		call("g", "sub.deep", 3, 1, 52, 60),
		call("h", "lonely", no, 1, 60, 61),
		step("left", no, 90, 90),
	}}
}

// outline draws spans as a tree: their names, attempts and items, and the times
// in milliseconds.
func outline(t *testing.T, spans []spanJSON) string {
	t.Helper()
	below := map[string][]spanJSON{}
	ids := map[string]bool{}
	for _, s := range spans {
		if ids[s.SpanID] {
			t.Errorf("two spans have the ID %s", s.SpanID)
		}
		ids[s.SpanID] = true
		below[s.ParentSpanID] = append(below[s.ParentSpanID], s)
	}
	var b strings.Builder
	drawn := 0
	var draw func(parent, indent string)
	draw = func(parent, indent string) {
		for _, s := range below[parent] {
			a := s.Attributes.all(t)
			fmt.Fprintf(&b, "%s%s", indent, s.Name)
			for _, k := range []string{"weft.index", "weft.attempt", "weft.slot", "weft.module"} {
				if v, ok := a[k]; ok {
					fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(k, "weft."), strings.TrimPrefix(v, "int "))
				}
			}
			at, _ := strconv.ParseInt(s.StartTimeUnixNano, 10, 64)
			end, _ := strconv.ParseInt(s.EndTimeUnixNano, 10, 64)
			fmt.Fprintf(&b, " %d-%d", (at-start.UnixNano())/1e6, (end-start.UnixNano())/1e6)
			if s.Status.Code == 2 {
				fmt.Fprintf(&b, " !%s", s.Status.Message)
			}
			b.WriteByte('\n')
			drawn++
			draw(s.SpanID, indent+"  ")
		}
	}
	for _, s := range spans {
		if !ids[s.ParentSpanID] && len(below[s.ParentSpanID]) > 0 {
			draw(s.ParentSpanID, "")
			break
		}
	}
	if drawn != len(spans) {
		t.Errorf("%d of %d spans hang together", drawn, len(spans))
	}
	return b.String()
}

func TestSpansMakeATree(t *testing.T) {
	got := outline(t, exportAll(t, otlp.Run{ID: "r-1", App: "shop", Workflow: "main", Status: "succeeded"}, sample(), ""))
	const want = `main 0-100
  host 1-99
  split 1-10
    split attempt=1 2-10
      module attempt=1 module=fs 3-3
      put attempt=1 slot=split/a 9-9
  count 10-40
    count index=0 10-30
      count index=0 attempt=1 11-30
    count index=1 10-40
      count index=1 attempt=1 11-20 !exit status 2
      count index=1 attempt=2 21-30 !exit status 2
      mend index=1 attempt=2 31-40
        take index=1 attempt=2 slot=split/a 32-32
  each 40-80
    each[1].inner 41-50
      f attempt=1 41-50
  sub 50-90
    sub.deep index=3 51-60
      g index=3 attempt=1 52-60
  h attempt=1 60-61
  left 90-90
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSpansTellFacts(t *testing.T) {
	run := otlp.Run{ID: "r-1", App: "shop", Version: "v7", Workflow: "main", Status: "failed", Trigger: "cron 0 3 * * *", Failure: "step count[1]: exit status 2", Retries: 2}
	spans := exportAll(t, run, sample(), "")
	root := spans[0]
	want := map[string]string{"weft.run": "r-1", "weft.app": "shop", "weft.version": "v7", "weft.workflow": "main", "weft.status": "failed", "weft.trigger": "cron 0 3 * * *", "weft.retries": "int 2"}
	if got := root.Attributes.all(t); !reflect.DeepEqual(got, want) {
		t.Errorf("the run tells %v, want %v", got, want)
	}
	if root.Status.Code != 2 || root.Status.Message != run.Failure || root.Kind != 1 || root.ParentSpanID != "" || root.Flags != telemetry.FlagSampled {
		t.Errorf("the run is %+v", root)
	}
	if got, want := root.StartTimeUnixNano, strconv.FormatInt(start.UnixNano(), 10); got != want {
		t.Errorf("it starts at %s, want %s", got, want)
	}
	facts := map[string]map[string]string{}
	for _, s := range spans {
		if a := s.Attributes.all(t); a["weft.step"] == "split" {
			facts[a["weft.kind"]] = a
		}
	}
	for kind, want := range map[string]map[string]string{
		"attempt": {"weft.function": "split", "weft.host": "host 1", "weft.attempt": "int 1", "weft.cpu_seconds": "double 0.0015", "weft.memory": "int 65536"},
		"put":     {"weft.slot": "split/a", "weft.bytes": "int 9007199254740993"},
		"module":  {"weft.module": "fs"},
	} {
		for k, v := range want {
			if facts[kind][k] != v {
				t.Errorf("%s of an %s is %q, want %q", k, kind, facts[kind][k], v)
			}
		}
	}
}

func TestARunIsAChildOfItsCaller(t *testing.T) {
	header := func(flags string) string { return "00-" + parentTrace + "-" + parentSpan + "-" + flags }
	tests := []struct {
		name, parent string
		trace, above string // empty: its own, none
		kind, spans  int
	}{
		{"sampled", header("01"), parentTrace, parentSpan, 2, len(sample().Spans)},
		{"not sampled", header("00"), "", "", 0, 0},
		{"none", "", "", "", 1, len(sample().Spans)},
		{"malformed", "00-" + parentTrace, "", "", 1, len(sample().Spans)},
	}
	own := otlp.Context("r-1", 0, "")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spans := exportAll(t, otlp.Run{ID: "r-1", Workflow: "main"}, sample(), tt.parent)
			if len(spans) != tt.spans {
				t.Fatalf("%d spans, want %d", len(spans), tt.spans)
			}
			if len(spans) == 0 {
				return
			}
			trace := tt.trace
			if trace == "" {
				trace = fmt.Sprintf("%x", own.Trace)
			}
			root := spans[0]
			if root.TraceID != trace || root.ParentSpanID != tt.above || root.Kind != tt.kind {
				t.Errorf("the run is %+v", root)
			}
			if c := otlp.Context("r-1", 0, tt.parent); fmt.Sprintf("%x", c.Span) != root.SpanID || fmt.Sprintf("%x", c.Trace) != trace || !c.Sampled() {
				t.Errorf("its context is %v", c)
			}
			for _, s := range spans {
				if s.TraceID != trace {
					t.Errorf("span %s is in trace %s", s.Name, s.TraceID)
				}
			}
		})
	}
}

func TestIDsFollowFromTheRun(t *testing.T) {
	ids := func(run otlp.Run, parent string) (ids []string) {
		for _, s := range exportAll(t, run, sample(), parent) {
			ids = append(ids, s.SpanID)
		}
		slices.Sort(ids)
		return ids
	}
	one := ids(otlp.Run{ID: "r-1"}, "")
	if again := ids(otlp.Run{ID: "r-1", Status: "failed"}, "00-"+parentTrace+"-"+parentSpan+"-01"); !slices.Equal(one, again) {
		t.Errorf("the same run has IDs %v and %v", one, again)
	}
	for _, other := range []otlp.Run{{ID: "r-2"}, {ID: "r-1", Retries: 1}} {
		for _, id := range ids(other, "") {
			if slices.Contains(one, id) {
				t.Errorf("%+v shares ID %s with another run", other, id)
			}
		}
	}
	if a, b := otlp.Context("r-1", 0, ""), otlp.Context("r-1", 1, ""); a.Trace != b.Trace || a.Span == b.Span {
		t.Errorf("a run and its retry are %v and %v", a, b)
	}
}

func TestLongAndMalformedText(t *testing.T) {
	long := strings.Repeat("é", 2000)
	tr := &telemetry.Trace{Run: "r", Start: start, Spans: []telemetry.Span{
		{Kind: telemetry.KindStep, Step: "a\xff", Index: telemetry.NoIndex, Start: 5, End: 1, Attrs: []telemetry.Attr{{Key: "error", Value: long}, {Key: "x", Value: long}}},
	}}
	spans := exportAll(t, otlp.Run{ID: "r"}, tr, "")
	if len(spans) != 2 || spans[0].Name != "run" {
		t.Fatalf("%+v", spans)
	}
	s := spans[1]
	if s.Name != "a\ufffd" || len(s.Status.Message) > 1024 || !strings.HasSuffix(s.Status.Message, "é…") || len(s.Attributes.all(t)["weft.x"]) > 1024 {
		t.Errorf("%+v", s)
	}
}

// TestAnyTraceIsATree exports traces of arbitrary spans: all of them arrive, with
// IDs of their own, below the run.
func TestAnyTraceIsATree(t *testing.T) {
	c := collect(t)
	kinds := []telemetry.Kind{telemetry.KindRun, telemetry.KindStep, telemetry.KindAttempt, telemetry.KindModule, telemetry.KindPut, telemetry.KindTake, telemetry.KindHost}
	rapid.Check(t, func(rt *rapid.T) {
		tr := &telemetry.Trace{Run: "r", Start: start}
		runs := 0
		for range rapid.IntRange(0, 30).Draw(rt, "spans") {
			s := telemetry.Span{
				Kind:  rapid.SampledFrom(kinds).Draw(rt, "kind"),
				Name:  rapid.SampledFrom([]string{"", "f", "g"}).Draw(rt, "name"),
				Step:  rapid.SampledFrom([]string{"", "a", "b", "a.b", "a[1].b", "a[1].b[0].c", ".", "a[", "a[x]", "[1].b"}).Draw(rt, "step"),
				Index: rapid.IntRange(-1, 1).Draw(rt, "index"), Attempt: rapid.IntRange(0, 2).Draw(rt, "attempt"),
				Start: time.Duration(rapid.IntRange(0, 5).Draw(rt, "start")), End: time.Duration(rapid.IntRange(0, 5).Draw(rt, "end")),
			}
			if s.Kind == telemetry.KindRun {
				runs++
			}
			tr.Spans = append(tr.Spans, s)
		}
		x, err := otlp.New(otlp.Options{Endpoint: c.URL})
		if err != nil {
			rt.Fatal(err)
		}
		x.Export(otlp.Run{ID: "r"}, tr, "")
		if err := x.Close(t.Context()); err != nil {
			rt.Fatal(err)
		}
		c.mu.Lock()
		body := c.bodies[len(c.bodies)-1]
		c.bodies = nil
		c.mu.Unlock()
		spans, _ := decode(t, body)
		if want := len(tr.Spans) - runs + 1; len(spans) != want {
			rt.Fatalf("%d spans, want %d", len(spans), want)
		}
		above := map[string]string{}
		for _, s := range spans {
			if _, twice := above[s.SpanID]; twice {
				rt.Fatalf("two spans have the ID %s", s.SpanID)
			}
			above[s.SpanID] = s.ParentSpanID
		}
		for _, s := range spans {
			n := 0
			for id := s.SpanID; id != spans[0].SpanID; id = above[id] {
				if _, ok := above[id]; !ok || n > len(spans) {
					rt.Fatalf("span %+v is not below the run", s)
				}
				n++
			}
		}
	})
}
