package lab

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-run/weft/internal/bench/report"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// noWeft is a node for experiments that need none.
type noWeft struct{}

var errNoNode = errors.New("no node")

func (noWeft) Open(context.Context, string, map[string]string) (App, error) { return nil, errNoNode }
func (noWeft) IdleHost(context.Context) (time.Duration, int64, error)       { return 0, 0, errNoNode }
func (noWeft) Close() error                                                 { return nil }
func withoutWeft(context.Context, string) (Weft, error)                     { return noWeft{}, nil }
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-rewrite updates it):\n%s", path, got)
	}
}

// sleeper is a case that takes as long as it says.
func sleeper(variant, measure string, took time.Duration, digest string) Case {
	return Case{Variant: variant, Expect: "right", Sample: func(context.Context) (Sample, error) {
		start := time.Now()
		time.Sleep(took)
		return Sample{Digest: digest, Values: []Value{Millis(measure, time.Since(start))}}, nil
	}}
}

// twoGroups is an experiment with all that a report can hold.
func twoGroups() Experiment {
	return Experiment{
		Name: "fake", Description: "what sleeping costs", Baselines: []string{"eager", "limit"},
		Setup: func(_ context.Context, l *Lab) error {
			g := l.Group("short", Rounds{Max: 4})
			g.Add(sleeper("lazy", "nap", 2*time.Millisecond, "right"))
			g.Add(sleeper("eager", "nap", 8*time.Millisecond, "right"))
			g.Add(sleeper("limit", "nap", time.Millisecond, "right"))
			g = l.Group("long", Rounds{Max: 2})
			g.Add(sleeper("lazy", "sleep", time.Second, "right"))
			g.Add(sleeper("process", "sleep", 1500*time.Millisecond, "right"))
			g.Add(Case{Variant: "eager", Expect: "right", Sample: func(context.Context) (Sample, error) {
				return Sample{Digest: "right", Values: []Value{{Measure: "sleep in Go", Unit: "ms", Number: 4, Against: "nap"}}}, nil
			}})
			l.Skip("python3", "executable file not found in $PATH")
			l.Skip("python3", "executable file not found in $PATH")
			return nil
		},
	}
}

// The report of twoGroups has the rows, ratios and skips of its cases, in their order.
func TestReportOfTwoGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), twoGroups(), Options{Start: withoutWeft})
		if err != nil {
			t.Fatal(err)
		}
		r.Machine = report.Machine{CPU: "Abacus 9000", Cores: 2, Memory: 24 << 30, Kernel: "Linux 6.18", Go: "go1.26 linux/amd64", Load: 0.25, Weft: "v1"}
		for name, write := range map[string]func(io.Writer) error{"fake.txt": r.Table, "fake.csv": r.CSV, "fake.json": r.JSON} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		}
	})
}

// One wrong output, even in the warm-up or in the last round, and there is no report.
func TestWrongOutputFailsTheExperiment(t *testing.T) {
	for _, wrongAt := range []int{1, 2, 6} {
		synctest.Test(t, func(t *testing.T) {
			out := t.TempDir()
			calls := 0
			e := Experiment{Name: "wrong", Setup: func(_ context.Context, l *Lab) error {
				g := l.Group("g", Rounds{WarmUp: 1, Max: 5})
				g.Add(Case{Variant: "reference", Expect: "42", Sample: func(context.Context) (Sample, error) {
					calls++
					s := Sample{Digest: "42", Values: []Value{Micros("m", time.Microsecond)}}
					if calls == wrongAt {
						s.Digest = "43"
					}
					return s, nil
				}})
				return nil
			}}
			var printed bytes.Buffer
			r, err := Run(t.Context(), e, Options{Start: withoutWeft, Out: out, Stdout: &printed})
			if !errors.Is(err, ErrDigest) || r != nil || printed.Len() > 0 {
				t.Errorf("wrong at call %d: err %v, report %v, printed %q", wrongAt, err, r, printed.String())
			}
			if files, _ := os.ReadDir(out); len(files) > 0 {
				t.Errorf("wrong at call %d: left %v", wrongAt, files)
			}
			if err != nil && !strings.Contains(err.Error(), `digest "43", expected "42"`) {
				t.Errorf("the message does not say what was wrong: %v", err)
			}
		})
	}
}

func TestUncheckedWorkHasNoReport(t *testing.T) {
	sample := func(context.Context) (Sample, error) { return Sample{}, nil }
	for name, setup := range map[string]func(context.Context, *Lab) error{
		"no cases": func(context.Context, *Lab) error { return nil },
		"a case that expects nothing": func(_ context.Context, l *Lab) error {
			l.Group("g", Rounds{Max: 1}).Add(Case{Variant: "x", Sample: sample})
			return nil
		},
		"a case that measures nothing": func(_ context.Context, l *Lab) error {
			l.Group("g", Rounds{Max: 1}).Add(Case{Variant: "x", Expect: "y", Sample: func(context.Context) (Sample, error) { return Sample{Digest: "y"}, nil }})
			return nil
		},
		"one measure from two cases": func(_ context.Context, l *Lab) error {
			g := l.Group("g", Rounds{Max: 1})
			g.Add(sleeper("x", "m", 0, "right"))
			g.Add(sleeper("x", "m", 0, "right"))
			return nil
		},
	} {
		if r, err := Run(t.Context(), Experiment{Name: "bad", Setup: setup}, Options{Start: withoutWeft}); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Variants take turns, in an order that changes from round to round and is the same for the same seed.
func TestVariantsAlternate(t *testing.T) {
	order := func(seed uint64) []string {
		var order []string
		e := Experiment{Name: "order", Setup: func(_ context.Context, l *Lab) error {
			g := l.Group("g", Rounds{Max: 20})
			for _, v := range []string{"a", "b", "c"} {
				g.Add(Case{Variant: v, Expect: "x", Sample: func(context.Context) (Sample, error) {
					order = append(order, v)
					return Sample{Digest: "x", Values: []Value{Micros("m", 1)}}, nil
				}})
			}
			return nil
		}}
		if _, err := Run(t.Context(), e, Options{Start: withoutWeft, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		return order
	}
	one := order(1)
	if len(one) != 63 {
		t.Fatalf("%d samples, want 21 rounds of 3", len(one))
	}
	rounds := map[string]bool{}
	for round := range slices.Chunk(one, 3) {
		rounds[strings.Join(round, "")] = true
		sorted := slices.Sorted(slices.Values(round))
		if !slices.Equal(sorted, []string{"a", "b", "c"}) {
			t.Fatalf("round %v", round)
		}
	}
	if len(rounds) < 4 {
		t.Errorf("only the orders %v", rounds)
	}
	if !slices.Equal(one, order(1)) {
		t.Error("the same seed gave another order")
	}
	if slices.Equal(one, order(2)) {
		t.Error("another seed gave the same order")
	}
}

// The budget decides on the number of rounds, between Min and Max, and is shared by weight.
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		name   string
		budget time.Duration
		setup  time.Duration
		min    int
		want   [2]int
		said   string // of a budget that is too small
	}{
		{"time for some", 10 * time.Second, 0, 1, [2]int{8, 2}, ""},
		{"set-up counts", 10 * time.Second, 5 * time.Second, 1, [2]int{3, 1}, ""},
		{"never less than the minimum", time.Second, 2 * time.Second, 3, [2]int{3, 3}, "the budget of 1s was not enough: setting up took 2s, and what is measured at least 6.4s"},
		{"never more than the maximum", 10 * time.Minute, 0, 1, [2]int{100, 100}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := Experiment{Name: "budget", Setup: func(_ context.Context, l *Lab) error {
					time.Sleep(c.setup)
					l.Group("heavy", Rounds{Min: c.min, Max: 100, Weight: 3}).Add(sleeper("x", "heavy", 800*time.Millisecond, "right"))
					l.Group("light", Rounds{Min: c.min, Max: 100}).Add(sleeper("x", "light", 800*time.Millisecond, "right"))
					return nil
				}}
				r, err := Run(t.Context(), e, Options{Start: withoutWeft, Budget: c.budget})
				if err != nil {
					t.Fatal(err)
				}
				if got := [2]int{r.Rows[0].N, r.Rows[1].N}; got != c.want {
					t.Errorf("rounds %v, want %v", got, c.want)
				}
				if said := strings.Join(r.Notes, "\n"); (c.said == "") != (said == "") || !strings.Contains(said, c.said) {
					t.Errorf("notes %q, want %q", said, c.said)
				}
			})
		})
	}
}

func TestCleanupRunsInReverseAfterFailure(t *testing.T) {
	var order []string
	var scratch string
	e := Experiment{Name: "broken", Setup: func(_ context.Context, l *Lab) error {
		scratch = l.Dir
		l.Cleanup(func() error { order = append(order, "first"); return nil })
		l.Cleanup(func() error { order = append(order, "second"); return errors.New("stuck") })
		return errors.New("no data")
	}}
	_, err := Run(t.Context(), e, Options{Start: withoutWeft})
	if err == nil || !strings.Contains(err.Error(), "no data") || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("err %v", err)
	}
	if !slices.Equal(order, []string{"second", "first"}) {
		t.Errorf("order %v", order)
	}
	if _, err := os.Stat(scratch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("scratch folder: %v", err)
	}
}

func TestOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{{Format: "yaml"}, {Rates: []float64{0}}, {Rates: []float64{2e6}}} {
		if _, err := Run(t.Context(), twoGroups(), o); err == nil {
			t.Errorf("%q %v are taken", o.Format, o.Rates)
		}
	}
}

// What has been measured when the context ends is printed and saved, and says that there is more.
func TestInterruption(t *testing.T) {
	for _, c := range []struct {
		name  string
		after int // calls of the second group's case, the warm-up is the first
		want  string
	}{
		{"in the warm-up", 1, "first 2"},
		{"between rounds", 3, "first 2, second 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			calls := 0
			e := Experiment{Name: "early", Setup: func(_ context.Context, l *Lab) error {
				l.Group("one", Rounds{Max: 2}).Add(sleeper("x", "first", 0, "right"))
				l.Group("two", Rounds{Max: 100}).Add(Case{Variant: "x", Expect: "y", Sample: func(context.Context) (Sample, error) {
					if calls++; calls > c.after {
						interrupt()
						return Sample{}, errors.New("a process that was ended")
					}
					return Sample{Digest: "y", Values: []Value{Micros("second", 1)}}, nil
				}})
				l.Group("three", Rounds{}).Add(sleeper("x", "third", 0, "right"))
				l.Cleanup(func() error { return errors.New("a process was gone") })
				return nil
			}}
			out := t.TempDir()
			var printed bytes.Buffer
			r, err := Run(ctx, e, Options{Start: withoutWeft, Stdout: &printed, Out: out})
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "interrupted while measuring two, group 2 of 3") {
				t.Fatalf("error %v", err)
			}
			var rows []string
			for _, row := range r.Rows {
				rows = append(rows, fmt.Sprintf("%s %d", row.Measure, row.N))
			}
			if got := strings.Join(rows, ", "); got != c.want {
				t.Errorf("rows %s, want %s", got, c.want)
			}
			if !strings.Contains(printed.String(), "interrupted while measuring two, group 2 of 3") {
				t.Errorf("printed:\n%s", printed.String())
			}
			for _, name := range []string{"early.json", "early.svg"} {
				if text, err := os.ReadFile(filepath.Join(out, name)); err != nil || !strings.Contains(string(text), "while measuring two") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// Where nothing has been measured there is no report, and a wrong output is one whenever it comes.
func TestInterruptionWithoutReport(t *testing.T) {
	for name, c := range map[string]struct {
		setup  func(interrupt func(), l *Lab) error
		wanted error
	}{
		"in set-up": {func(interrupt func(), _ *Lab) error {
			interrupt()
			return errors.New("a compiler that was ended")
		}, context.Canceled},
		"before a round": {func(interrupt func(), l *Lab) error {
			l.Group("g", Rounds{}).Add(sleeper("x", "m", 0, "right"))
			interrupt()
			return nil
		}, context.Canceled},
		"with a wrong output": {func(interrupt func(), l *Lab) error {
			l.Group("f", Rounds{Max: 1}).Add(sleeper("x", "m", 0, "right"))
			l.Group("g", Rounds{}).Add(Case{Variant: "x", Expect: "y", Sample: func(context.Context) (Sample, error) {
				interrupt()
				return Sample{Digest: "z"}, nil
			}})
			return nil
		}, ErrDigest},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			e := Experiment{Name: "early", Setup: func(_ context.Context, l *Lab) error { return c.setup(interrupt, l) }}
			var printed bytes.Buffer
			r, err := Run(ctx, e, Options{Start: withoutWeft, Stdout: &printed})
			if r != nil || !errors.Is(err, c.wanted) || printed.Len() > 0 {
				t.Errorf("report %v, error %v, printed %q", r, err, printed.String())
			}
		})
	}
}
