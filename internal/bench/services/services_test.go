package services

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
	"github.com/weft-run/weft/internal/bench/replay"
	"github.com/weft-run/weft/internal/sandbox/hostbin"
)

// needsServer skips where weft cannot serve.
func needsServer(t *testing.T) {
	t.Helper()
	if _, err := hostbin.Open(); errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
}

func TestServices(t *testing.T) {
	needsServer(t)
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("not installed: ", err)
	}
	out := t.TempDir()
	e := speed()
	e.Setup = func(ctx context.Context, l *lab.Lab) error {
		return setUp(ctx, l, sizes{alone: 3, clients: 2, window: 20 * time.Millisecond, rounds: 1, ladder: []int{1, 2}, peaks: 1})
	}
	r, err := lab.Run(t.Context(), e, lab.Options{Budget: time.Millisecond, Out: out, Apps: []string{"tree", "hotel"}, Rates: []float64{100, 200}})
	if err != nil {
		t.Fatal(err)
	}
	for _, measure := range []string{"tree" + measureAlone, "tree" + measureRate, "tree" + measureEight, "hotel" + measureRate} {
		if row := r.Row(variantGo, measure); row == nil || row.Median <= 0 {
			t.Errorf("%s: %+v", measure, row)
		}
	}
	if row := r.Row(variantWasm, "tree"+measureRate); row == nil || row.Median <= 0 {
		t.Errorf("in modules: %+v", row)
	}
	for _, app := range []string{"tree", "hotel"} {
		if row := r.Row(variantGo, app+measureFlushes); row == nil || row.Median != 1 || row.Required != "1" {
			t.Errorf("%s: flushes %+v", app, row)
		}
	}
	if r.Row(variantGo, "counter"+measureAlone) != nil {
		t.Error("counter was not asked for")
	}
	text, err := os.ReadFile(filepath.Join(out, "services-curves.csv"))
	if lines := strings.Count(string(text), "\n"); err != nil || lines < 5 || !strings.Contains(string(text), "tree,go,200,") {
		t.Errorf("%v:\n%s", err, text)
	}
	if text, err := os.ReadFile(filepath.Join(out, "services-curves.svg")); err != nil || !strings.Contains(string(text), "hotel") {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestSequential(t *testing.T) {
	needsServer(t)
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("not installed: ", err)
	}
	r, err := lab.Run(t.Context(), sequential(), lab.Options{Quick: true, Budget: time.Millisecond, Apps: []string{"counter"}})
	if err != nil {
		t.Fatal(err)
	}
	if row := r.Row(variantGo, "counter"+measureSeq); row == nil || row.Median <= 0 {
		t.Errorf("%+v", row)
	}
}

// A window that was disturbed is measured again, and counts if that was often enough.
func TestDisturbedWindows(t *testing.T) {
	d := disturbances{repeats: 2, until: func() time.Time { return time.Now().Add(time.Hour) }}
	quiet, busy := replay.Noise{Foreign: 0.01}, replay.Noise{Foreign: 0.3}
	for i, c := range []struct {
		noise  replay.Noise
		again  int
		counts bool
	}{{quiet, 0, true}, {busy, 0, false}, {busy, 1, false}, {busy, 2, true}, {busy, 0, false}, {quiet, 1, true}} {
		if got := d.counts(c.noise, c.again); got != c.counts {
			t.Errorf("window %d, %v, after %d: counts is %v", i, c.noise, c.again, got)
		}
	}
	const want = "3 times a window that other load disturbed was measured again, each at most 2 times; 1 of the 3 windows that count were disturbed all the same, by at most 30.0 % foreign, 0.0 % stolen"
	if got := d.conclude(); len(got) != 1 || got[0] != want {
		t.Errorf("got %q", got)
	}
	late := disturbances{repeats: 2, until: func() time.Time { return time.Time{} }}
	if !late.counts(busy, 0) {
		t.Error("a window is measured again after the budget was used")
	}
}

// Effects that are not those of the answers end the experiment.
func TestEffectsThatAreMissing(t *testing.T) {
	for _, c := range []struct {
		found int
		want  string
	}{{7, allHappened}, {6, "7 answers, 6 rows"}} {
		a := &served{answered: 7, application: application{effects: func(context.Context, *served) (map[string]int, error) {
			return map[string]int{"rows": c.found}, nil
		}}}
		if s, err := a.happened(t.Context()); err != nil || s.Digest != c.want {
			t.Errorf("got %q, %v, want %q", s.Digest, err, c.want)
		}
	}
}

// A server that refuses ends a closed loop, and is counted in an open one.
func TestOrderOfAnApplication(t *testing.T) {
	a := &served{deploys: "x", application: application{right: func(b []byte) bool { return string(b) == "1" }}, random: newRandom(1)}
	o := a.order(func() (string, string) { return "s/m", "[1]" })
	first := string(o.Next())
	second := string(o.Next())
	if first == second || !strings.HasPrefix(first, "POST /v1/apps/x/services/s/m HTTP/1.1\r\n") || !strings.HasSuffix(first, "Content-Length: 3\r\n\r\n[1]") {
		t.Errorf("got %q, %q", first, second)
	}
	for _, c := range []struct {
		status int
		body   string
		want   error
	}{{200, "1", nil}, {200, "2", lab.ErrDigest}, {500, "1", lab.ErrDigest}, {429, "", load.ErrRefused}, {503, "", load.ErrRefused}} {
		if err := o.Check(c.status, []byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%d %s: got %v", c.status, c.body, err)
		}
	}
	if a.answered != 1 || a.refused != 2 {
		t.Errorf("%d answers, %d refusals", a.answered, a.refused)
	}
}
