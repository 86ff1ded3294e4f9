package telemetry_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/telemetry"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// ms is a time of the sample in milliseconds.
func ms(n float64) time.Duration { return time.Duration(n * 1e6) }

// sample is a run with a fan-out over two hosts, a failed attempt, a module load and a buffer.
func sample() *telemetry.Trace {
	no := telemetry.NoIndex
	return &telemetry.Trace{Run: "r-1", Start: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Spans: []telemetry.Span{
		{Kind: telemetry.KindRun, Index: no, Start: 0, End: ms(80)},
		{Kind: telemetry.KindHost, Host: "host 1", Index: no, Start: ms(4), End: ms(80)},
		{Kind: telemetry.KindHost, Host: "host 2", Index: no, Start: ms(5), End: ms(78)},
		{Kind: telemetry.KindStep, Step: "split", Index: no, Start: ms(4), End: ms(16)},
		{Kind: telemetry.KindAttempt, Name: "split", Step: "split", Index: no, Attempt: 1, Host: "host 1", Start: ms(5), End: ms(16)},
		{Kind: telemetry.KindModule, Name: "fs", Step: "split", Index: no, Attempt: 1, Host: "host 1", Start: ms(7), End: ms(7.02)},
		{Kind: telemetry.KindPut, Name: "split/a&b", Step: "split", Index: no, Attempt: 1, Host: "host 1", Start: ms(15), End: ms(15.001),
			Attrs: []telemetry.Attr{{Key: "bytes", Value: "1048576"}}},
		{Kind: telemetry.KindStep, Step: "count", Index: 1, Start: ms(16), End: ms(60)},
		{Kind: telemetry.KindAttempt, Name: "count", Step: "count", Index: 1, Attempt: 1, Host: "host 2", Start: ms(16.5), End: ms(25),
			Attrs: []telemetry.Attr{{Key: "error", Value: "exit status 2 <oops>"}}},
		{Kind: telemetry.KindAttempt, Name: "count", Step: "count", Index: 1, Attempt: 2, Host: "host 2", Start: ms(35), End: ms(60)},
		{Kind: telemetry.KindStep, Step: "count", Index: 0, Start: ms(16), End: ms(40)},
		{Kind: telemetry.KindAttempt, Name: "count", Step: "count", Index: 0, Attempt: 1, Host: "host 1", Start: ms(17), End: ms(40)},
		{Kind: telemetry.KindTake, Name: "split/a&b", Step: "count", Index: 0, Attempt: 1, Host: "host 1", Start: ms(17.5), End: ms(17.501)},
		{Kind: telemetry.KindStep, Step: "merge", Index: no, Start: ms(60), End: ms(80)},
		{Kind: telemetry.KindAttempt, Name: "merge", Step: "merge", Index: no, Attempt: 1, Host: "host 1", Start: ms(66), End: ms(80)},
	}}
}

// wide is a run with a foreach of n items, four at a time.
func wide(n int) *telemetry.Trace {
	t := &telemetry.Trace{Run: "r-wide"}
	for i := range n {
		start := ms(float64(i / 4 * 10))
		t.Spans = append(t.Spans,
			telemetry.Span{Kind: telemetry.KindStep, Step: "map", Index: i, End: start + ms(10)},
			telemetry.Span{Kind: telemetry.KindAttempt, Step: "map", Index: i, Attempt: 1, Host: "host " + strconv.Itoa(i%4+1), Start: start, End: start + ms(float64(4+i%4*2))})
	}
	return t
}

func TestPictures(t *testing.T) {
	text := func(opts telemetry.TextOptions) func(io.Writer, *telemetry.Trace) error {
		return func(w io.Writer, tr *telemetry.Trace) error { return telemetry.WriteText(w, tr, opts) }
	}
	tests := []struct {
		golden string
		trace  *telemetry.Trace
		write  func(io.Writer, *telemetry.Trace) error
	}{
		{"sample.svg", sample(), telemetry.WriteSVG},
		{"sample.chrome.json", sample(), telemetry.WriteChrome},
		{"sample.ascii.txt", sample(), text(telemetry.TextOptions{})},
		{"sample.unicode.txt", sample(), text(telemetry.TextOptions{Unicode: true, Width: 100})},
		{"wide.svg", wide(100), telemetry.WriteSVG},
		{"wide.ascii.txt", wide(100), text(telemetry.TextOptions{})},
		{"wide.unicode.txt", wide(100), text(telemetry.TextOptions{Unicode: true})},
		{"empty.svg", &telemetry.Trace{Run: "r-0"}, telemetry.WriteSVG},
		{"empty.ascii.txt", &telemetry.Trace{Run: "r-0"}, text(telemetry.TextOptions{})},
	}
	for _, tt := range tests {
		t.Run(tt.golden, func(t *testing.T) {
			var got bytes.Buffer
			if err := tt.write(&got, tt.trace); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join("testdata", tt.golden)
			if *rewrite {
				if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("differs from %s; go test -rewrite shows it in git diff\n%s", name, got.Bytes())
			}
			if filepath.Ext(name) == ".svg" {
				wellFormed(t, got.Bytes())
			}
		})
	}
}

// wellFormed reads the picture as XML to its end.
func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			t.Fatalf("not XML: %v", err)
		}
	}
}

// TestChromeShape checks what the Trace Event Format asks of each phase.
func TestChromeShape(t *testing.T) {
	var out bytes.Buffer
	if err := telemetry.WriteChrome(&out, sample()); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Unit   string `json:"displayTimeUnit"`
		Events []struct {
			Name  string
			Phase string   `json:"ph"`
			TS    *float64 `json:"ts"`
			Dur   *float64 `json:"dur"`
			PID   *int     `json:"pid"`
			TID   *int     `json:"tid"`
			Args  map[string]string
		} `json:"traceEvents"`
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Unit != "ms" {
		t.Errorf("displayTimeUnit %q, want ms", doc.Unit)
	}
	spans := 0
	for _, e := range doc.Events {
		switch {
		case e.Name == "" || e.PID == nil || e.TID == nil || e.TS == nil:
			t.Errorf("event %+v lacks a name, process, thread or time", e)
		case e.Phase == "M" && e.Args["name"] == "":
			t.Errorf("metadata %+v names nothing", e)
		case e.Phase == "X" && (e.Dur == nil || *e.Dur < 0):
			t.Errorf("complete event %+v has no duration", e)
		case e.Phase == "X":
			spans++
		}
	}
	if want := len(sample().Spans); spans != want {
		t.Errorf("%d complete events, want one for each of %d spans", spans, want)
	}
}

func TestFormatDuration(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{0, "0"}, {740, "740 ns"}, {12345, "12.3 µs"}, {999499, "999 µs"}, {999500, "1.00 ms"}, {4560 * time.Microsecond, "4.56 ms"},
		{999499 * time.Microsecond, "999 ms"}, {1234 * time.Millisecond, "1.23 s"}, {99 * time.Second, "99.0 s"},
		{125 * time.Second, "2m5s"}, {-3 * time.Millisecond, "-3.00 ms"},
	}
	for _, tt := range tests {
		if got := telemetry.FormatDuration(tt.d); got != tt.want {
			t.Errorf("FormatDuration(%d) = %q, want %q", tt.d, got, tt.want)
		}
	}
}

func TestRecorderOrdersSpansOfManyGoroutines(t *testing.T) {
	r := telemetry.NewRecorder("r-1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				r.Add(telemetry.Span{Kind: telemetry.KindStep, Start: time.Duration(100*j + i), End: time.Duration(100 * j)})
			}
		})
	}
	wg.Wait()
	tr := r.Trace()
	if len(tr.Spans) != 800 || tr.Run != "r-1" || tr.Start.IsZero() {
		t.Fatalf("%d spans of run %q from %v", len(tr.Spans), tr.Run, tr.Start)
	}
	for i, s := range tr.Spans[1:] {
		if s.Start < tr.Spans[i].Start {
			t.Fatalf("span %d starts before span %d", i+1, i)
		}
		if s.Duration() < 0 {
			t.Fatalf("negative duration of %+v", s)
		}
	}
}

func TestNilRecorderDoesNothing(t *testing.T) {
	var r *telemetry.Recorder
	r.Add(telemetry.Span{})
	if tr := r.Trace(); len(tr.Spans) != 0 || r.Now() != 0 || !r.Start().IsZero() {
		t.Errorf("a nil recorder recorded %+v", tr)
	}
}

func TestPath(t *testing.T) {
	for want, s := range map[string]telemetry.Span{
		"a":    {Step: "a", Index: telemetry.NoIndex},
		"a[0]": {Step: "a"},
		"":     {Index: 3},
	} {
		if got := s.Path(); got != want {
			t.Errorf("Path of %+v is %q, want %q", s, got, want)
		}
		if got := (telemetry.Event{Step: s.Step, Index: s.Index}).Path(); got != want {
			t.Errorf("Path of an event is %q, want %q", got, want)
		}
	}
}

func BenchmarkRecorderAdd(b *testing.B) {
	r := telemetry.NewRecorder("r-1")
	for b.Loop() {
		r.Add(telemetry.Span{Kind: telemetry.KindStep, Step: "a", Start: 1, End: 2})
	}
}

func TestTextIsAsciiWhenAsked(t *testing.T) {
	var out strings.Builder
	tr := &telemetry.Trace{Spans: []telemetry.Span{{Kind: telemetry.KindStep, Step: "a", Index: telemetry.NoIndex, End: 5 * time.Microsecond}}}
	if err := telemetry.WriteText(&out, tr, telemetry.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r > 127 {
			t.Fatalf("letter %q in ASCII output:\n%s", r, &out)
		}
	}
}
