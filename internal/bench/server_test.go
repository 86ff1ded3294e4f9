package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/report"
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
func small(t *testing.T, e lab.Experiment, setup func(context.Context, *lab.Lab) error) *report.Report {
	t.Helper()
	needsServer(t)
	e.Setup = setup
	r, err := lab.Run(t.Context(), e, lab.Options{Budget: time.Millisecond, Peers: t.TempDir()})
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
func requirements(t *testing.T, e lab.Experiment, r *report.Report) {
	t.Helper()
	for _, q := range e.Required {
		if row := r.Row(q.Variant, q.Measure); row == nil || row.Required != q.Text {
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
	r := small(t, coldProcess(), func(ctx context.Context, l *lab.Lab) error { return setUpColdProcess(ctx, l, 2) })
	requirements(t, coldProcess(), r)
	const measure = coldFirst + "asyncio, decimal, json, unittest"
	if row := r.Row(withoutParent, measure); row == nil || row.Median <= 0 {
		t.Errorf("no %s alone: %+v", measure, row)
	}
	if row := r.Row(withParent, measure); os.Getuid() == 0 && (row == nil || row.Ratios[withoutParent] <= 0) {
		t.Errorf("%s has no ratio: %+v", measure, row)
	}
}

func TestInvoke(t *testing.T) {
	r := small(t, invoke(), func(ctx context.Context, l *lab.Lab) error {
		return setUpInvoke(ctx, l, 5, 20*time.Millisecond)
	})
	requirements(t, invoke(), r)
	for _, measure := range []string{invokeAlone, invokeRate, invokeServer} {
		if row := r.Row("tcp", measure); row == nil || row.Ratios["net/http"] <= 0 {
			t.Errorf("%s has no ratio: %+v", measure, row)
		}
	}
}

func TestSteps(t *testing.T) {
	r := small(t, steps(), func(ctx context.Context, l *lab.Lab) error {
		return setUpSteps(ctx, l, 3, 20*time.Millisecond)
	})
	requirements(t, steps(), r)
	if len(r.Skipped) != 1 || r.Skipped[0].Variant != "dbos" || !strings.Contains(r.Skipped[0].Reason, "make peers") {
		t.Errorf("skipped: %+v, want dbos and what would bring it", r.Skipped)
	}
}

func TestRecovery(t *testing.T) {
	e := recovery()
	e.Required[0].Variant = "20 runs"
	r := small(t, e, func(ctx context.Context, l *lab.Lab) error {
		return setUpRecovery(ctx, l, recoverySizes{runs: 20, watch: 50 * time.Millisecond, rounds: 1})
	})
	requirements(t, e, r)
	if row := r.Row("new", recoveryMemory); row.Median < 1 || row.Median > 1000 {
		t.Errorf("an idle server takes %v MiB", row.Median)
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
