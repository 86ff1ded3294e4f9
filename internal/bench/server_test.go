package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/sandbox/hostbin"
)

// needsServer skips where weft cannot serve.
func needsServer(t *testing.T) {
	t.Helper()
	if _, err := hostbin.Open(); errors.Is(err, hostbin.ErrAbsent) {
		t.Skip("needs the domain host: run make build")
	}
}

// small is an experiment with a set-up of its own.
func small(t *testing.T, e Experiment, setup func(context.Context, *Lab) error) *Report {
	t.Helper()
	needsServer(t)
	e.Setup = setup
	r, err := RunExperiment(t.Context(), e, Options{Budget: time.Millisecond, Peers: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		if row.N == 0 || row.Median < 0 {
			t.Errorf("%s of %s: %+v", row.Measure, row.Variant, row)
		}
	}
	return r
}

// requirements complains about those that are not shown.
func requirements(t *testing.T, e Experiment, r *Report) {
	t.Helper()
	for _, q := range e.Required {
		if row := r.row(q.Variant, q.Measure); row == nil || row.Required != q.Text {
			t.Errorf("%s of %s should say %q: %+v", q.Measure, q.Variant, q.Text, row)
		}
	}
	var table strings.Builder
	if err := r.Table(&table); err != nil || !strings.Contains(table.String(), "required") || !strings.Contains(table.String(), e.Required[0].Text) {
		t.Errorf("%v:\n%s", err, table.String())
	}
}

func TestColdProcess(t *testing.T) {
	for _, tool := range []string{"python3", "cc", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("not installed: ", err)
		}
	}
	r := small(t, coldProcess(), func(ctx context.Context, lab *Lab) error { return setUpColdProcess(ctx, lab, 2) })
	requirements(t, coldProcess(), r)
	const measure = coldFirst + "asyncio, decimal, json, unittest"
	if row := r.row(withoutParent, measure); row == nil || row.Median <= 0 {
		t.Errorf("no %s alone: %+v", measure, row)
	}
	if row := r.row(withParent, measure); os.Getuid() == 0 && (row == nil || row.Ratios[withoutParent] <= 0) {
		t.Errorf("%s has no ratio: %+v", measure, row)
	}
}

func TestInvoke(t *testing.T) {
	r := small(t, invoke(), func(ctx context.Context, lab *Lab) error {
		return setUpInvoke(ctx, lab, 5, 20*time.Millisecond)
	})
	requirements(t, invoke(), r)
	for _, measure := range []string{invokeAlone, invokeRate, invokeServer} {
		if row := r.row("tcp", measure); row == nil || row.Ratios["net/http"] <= 0 {
			t.Errorf("%s has no ratio: %+v", measure, row)
		}
	}
}

func TestSteps(t *testing.T) {
	r := small(t, steps(), func(ctx context.Context, lab *Lab) error {
		return setUpSteps(ctx, lab, 3, 20*time.Millisecond)
	})
	requirements(t, steps(), r)
	if len(r.Skipped) != 1 || r.Skipped[0].Variant != "dbos" || !strings.Contains(r.Skipped[0].Reason, "make peers") {
		t.Errorf("skipped: %+v, want dbos and what would bring it", r.Skipped)
	}
}

func TestRecovery(t *testing.T) {
	e := recovery()
	e.Required[0].Variant = "20 runs"
	r := small(t, e, func(ctx context.Context, lab *Lab) error {
		return setUpRecovery(ctx, lab, recoverySizes{runs: 20, watch: 50 * time.Millisecond, rounds: 1})
	})
	requirements(t, e, r)
	if row := r.row("new", recoveryMemory); row.Median < 1 || row.Median > 1000 {
		t.Errorf("an idle server takes %v MiB", row.Median)
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	lab := newLab(t, nil)
	lab.Program = filepath.Join(lab.Dir, "no")
	if err := os.WriteFile(lab.Program, []byte("#!/bin/sh\necho there is no weft >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.serve(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "there is no weft") {
		t.Errorf("error %v, want what the program has said", err)
	}
}

// script is a peer in a few lines of shell.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPeer(t *testing.T) {
	p, err := startPeer(t.Context(), script(t, `echo {}; while read order; do echo "$order" >&2; echo '{"micros": [1500, 2500], "seconds": 0.004}'; done`))
	if err != nil {
		t.Fatal(err)
	}
	d, err := p.run(t.Context(), 2, 0, 1)
	if err != nil || len(d.Latencies) != 2 || d.Latencies[0] != 1500*time.Microsecond || d.Rate() != 500 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := p.run(t.Context(), 3, 0, 1); err == nil || !strings.Contains(err.Error(), "2 runs") {
		t.Errorf("error %v: it has done less than it was asked for", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got := p.said.String(); !strings.Contains(got, `{"count":2,"at":1}`) {
		t.Errorf("%s, want the order", got)
	}
}

func TestPeerThatCannotRun(t *testing.T) {
	for name, test := range map[string]struct {
		program string
		missing bool
		want    string
	}{
		"absent":  {filepath.Join(t.TempDir(), "no"), true, "make peers"},
		"lacking": {script(t, `echo '{"error": "no database", "missing": true}'`), true, "no database"},
		"failing": {script(t, `echo '{"error": "disk full"}'`), false, "disk full"},
		"dying":   {script(t, "echo oh no >&2; exit 3"), false, "oh no"},
		"babble":  {script(t, "echo hello"), false, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := startPeer(t.Context(), test.program)
			if err == nil || errors.Is(err, errNoPeer) != test.missing || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestPeerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := startPeer(ctx, script(t, "read order")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestClosedLoop(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		count int
		fail  int // the call that fails; 0: none
		want  int // calls
		err   error
	}{
		"counts":          {7, 0, 7, nil},
		"ends with error": {7, 3, 3, broken},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			d, err := closedLoop(test.count, 0, 1, func() error {
				if calls++; calls == test.fail {
					return broken
				}
				return nil
			})
			if calls != test.want || len(d.Latencies) != test.want || !errors.Is(err, test.err) {
				t.Errorf("%d calls, %d latencies, error %v", calls, len(d.Latencies), err)
			}
		})
	}
	if d, err := closedLoop(0, 5*time.Millisecond, 4, func() error { time.Sleep(time.Millisecond); return nil }); err != nil || len(d.Latencies) < 4 {
		t.Errorf("%d calls, %v", len(d.Latencies), err)
	}
}

func TestRequest(t *testing.T) {
	const want = "POST /a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	if got := string(request("POST", "/a", "t", "{}")); got != want {
		t.Errorf("%q", got)
	}
	if got := string(request("GET", "/a", "", "")); got != "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n" {
		t.Errorf("%q", got)
	}
}
