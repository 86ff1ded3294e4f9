package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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
		Setup: func(_ context.Context, lab *Lab) error {
			g := lab.Group("short", Rounds{Max: 4})
			g.Add(sleeper("lazy", "nap", 2*time.Millisecond, "right"))
			g.Add(sleeper("eager", "nap", 8*time.Millisecond, "right"))
			g.Add(sleeper("limit", "nap", time.Millisecond, "right"))
			g = lab.Group("long", Rounds{Max: 2})
			g.Add(sleeper("lazy", "sleep", time.Second, "right"))
			g.Add(sleeper("process", "sleep", 1500*time.Millisecond, "right"))
			g.Add(Case{Variant: "eager", Expect: "right", Sample: func(context.Context) (Sample, error) {
				return Sample{Digest: "right", Values: []Value{{Measure: "sleep in Go", Unit: "ms", Number: 4, Against: "nap"}}}, nil
			}})
			lab.Skip("python3", "executable file not found in $PATH")
			lab.Skip("python3", "executable file not found in $PATH")
			return nil
		},
	}
}

// fakeReport is the report of twoGroups on a machine that is always the same.
func fakeReport(t *testing.T) *Report {
	var r *Report
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = RunExperiment(t.Context(), twoGroups(), Options{Start: withoutWeft}); err != nil {
			t.Fatal(err)
		}
	})
	if r == nil {
		t.FailNow()
	}
	r.Machine = Machine{CPU: "Abacus 9000", Cores: 2, Memory: 24 << 30, Kernel: "Linux 6.18", Go: "go1.26 linux/amd64", Load: 0.25, Weft: "v1"}
	return r
}

func TestReportGoldens(t *testing.T) {
	r := fakeReport(t)
	for name, write := range map[string]func(io.Writer) error{
		"fake.txt": r.Table, "fake.csv": r.CSV, "fake.json": r.JSON, "fake.svg": r.Plot,
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name, b.Bytes())
		})
	}
}

// The JSON form has these keys and no others, at every level that the documentation promises.
func TestJSONShape(t *testing.T) {
	var b bytes.Buffer
	if err := fakeReport(t).JSON(&b); err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &top); err != nil {
		t.Fatal(err)
	}
	keys := func(m map[string]json.RawMessage) string {
		var k []string
		for key := range m {
			k = append(k, key)
		}
		slices.Sort(k)
		return strings.Join(k, " ")
	}
	if got := keys(top); got != "checked experiment machine rows" {
		t.Errorf("keys %s", got)
	}
	if string(top["checked"]) != "true" {
		t.Errorf("checked is %s", top["checked"])
	}
	var rows []map[string]json.RawMessage
	if err := json.Unmarshal(top["rows"], &rows); err != nil || len(rows) == 0 {
		t.Fatalf("rows: %v", err)
	}
	for _, row := range rows {
		if got := keys(row); got != "mean measure median n p99 unit variant" {
			t.Errorf("keys of a row: %s", got)
		}
	}
}

// One wrong output, even in the warm-up or in the last round, and there is no report.
func TestWrongOutputFailsTheExperiment(t *testing.T) {
	for _, wrongAt := range []int{1, 2, 6} {
		synctest.Test(t, func(t *testing.T) {
			out := t.TempDir()
			calls := 0
			e := Experiment{Name: "wrong", Setup: func(_ context.Context, lab *Lab) error {
				g := lab.Group("g", Rounds{WarmUp: 1, Max: 5})
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
			r, err := RunExperiment(t.Context(), e, Options{Start: withoutWeft, Out: out, Stdout: &printed})
			if !errors.Is(err, errDigest) || r != nil || printed.Len() > 0 {
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
		"a case that expects nothing": func(_ context.Context, lab *Lab) error {
			lab.Group("g", Rounds{Max: 1}).Add(Case{Variant: "x", Sample: sample})
			return nil
		},
		"a case that measures nothing": func(_ context.Context, lab *Lab) error {
			lab.Group("g", Rounds{Max: 1}).Add(Case{Variant: "x", Expect: "y", Sample: func(context.Context) (Sample, error) { return Sample{Digest: "y"}, nil }})
			return nil
		},
		"one measure from two cases": func(_ context.Context, lab *Lab) error {
			g := lab.Group("g", Rounds{Max: 1})
			g.Add(sleeper("x", "m", 0, "right"))
			g.Add(sleeper("x", "m", 0, "right"))
			return nil
		},
	} {
		if r, err := RunExperiment(t.Context(), Experiment{Name: "bad", Setup: setup}, Options{Start: withoutWeft}); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Variants take turns, in an order that changes from round to round and is the same for the same seed.
func TestVariantsAlternate(t *testing.T) {
	order := func(seed uint64) []string {
		var order []string
		e := Experiment{Name: "order", Setup: func(_ context.Context, lab *Lab) error {
			g := lab.Group("g", Rounds{Max: 20})
			for _, v := range []string{"a", "b", "c"} {
				g.Add(Case{Variant: v, Expect: "x", Sample: func(context.Context) (Sample, error) {
					order = append(order, v)
					return Sample{Digest: "x", Values: []Value{Micros("m", 1)}}, nil
				}})
			}
			return nil
		}}
		if _, err := RunExperiment(t.Context(), e, Options{Start: withoutWeft, Seed: seed}); err != nil {
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
	}{
		{"time for some", 10 * time.Second, 0, 1, [2]int{8, 2}},
		{"set-up counts", 10 * time.Second, 5 * time.Second, 1, [2]int{3, 1}},
		{"never less than the minimum", time.Second, 0, 3, [2]int{3, 3}},
		{"never more than the maximum", 10 * time.Minute, 0, 1, [2]int{100, 100}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := Experiment{Name: "budget", Setup: func(_ context.Context, lab *Lab) error {
					time.Sleep(c.setup)
					lab.Group("heavy", Rounds{Min: c.min, Max: 100, Weight: 3}).Add(sleeper("x", "heavy", 800*time.Millisecond, "right"))
					lab.Group("light", Rounds{Min: c.min, Max: 100}).Add(sleeper("x", "light", 800*time.Millisecond, "right"))
					return nil
				}}
				r, err := RunExperiment(t.Context(), e, Options{Start: withoutWeft, Budget: c.budget})
				if err != nil {
					t.Fatal(err)
				}
				if got := [2]int{r.Rows[0].N, r.Rows[1].N}; got != c.want {
					t.Errorf("rounds %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	r := fakeReport(t)
	r.Description = `less < more & "quoted"`
	r.Rows = append(r.Rows, Row{Variant: "zero", Measure: "nothing at all", Unit: "µs", N: 1})
	var b bytes.Buffer
	if err := r.Plot(&b); err != nil {
		t.Fatal(err)
	}
	text := ""
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			text += string(c) + "\n"
		}
	}
	for _, want := range []string{"fake: less", "Abacus 9000", "nap", "sleep", "lazy", "eager", "ms", "zero", "1000"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plot does not say %q", want)
		}
	}
}

func TestSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "results")
	r := fakeReport(t)
	for range 2 { // the second time replaces
		if err := r.Save(dir); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	if !slices.Equal(files, []string{"fake.csv", "fake.json", "fake.svg"}) {
		t.Errorf("files %v", files)
	}
	f, err := os.Open(filepath.Join(dir, "fake.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if records, err := csv.NewReader(f).ReadAll(); err != nil || len(records) != 1+len(r.Rows) {
		t.Errorf("%d records, %v", len(records), err)
	}
	if err := r.Save("/dev/null/x"); err == nil {
		t.Error("saved below a file")
	}
}

func TestCleanupRunsInReverseAfterFailure(t *testing.T) {
	var order []string
	var scratch string
	e := Experiment{Name: "broken", Setup: func(_ context.Context, lab *Lab) error {
		scratch = lab.Dir
		lab.Cleanup(func() error { order = append(order, "first"); return nil })
		lab.Cleanup(func() error { order = append(order, "second"); return errors.New("stuck") })
		return errors.New("no data")
	}}
	_, err := RunExperiment(t.Context(), e, Options{Start: withoutWeft})
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

func TestRunRefuses(t *testing.T) {
	if _, err := Run(t.Context(), "warm-start", Options{}); err == nil || !strings.Contains(err.Error(), "cold-start") {
		t.Errorf("unknown experiment: %v", err)
	}
	if _, err := RunExperiment(t.Context(), twoGroups(), Options{Format: "yaml"}); err == nil {
		t.Error("unknown format accepted")
	}
}

func TestNames(t *testing.T) {
	want := "cold-start data-transfer end-to-end breakdown p99 resources overhead host invoke steps recovery cold-process cpu cpu-ablation cpu-sensitivity services seq"
	if got := strings.Join(Names(), " "); got != want {
		t.Errorf("names %s, want %s", got, want)
	}
	for _, e := range Experiments() {
		if e.Description == "" || e.Setup == nil {
			t.Errorf("%s: incomplete", e.Name)
		}
	}
}

func TestDescribeMachine(t *testing.T) {
	m := DescribeMachine("v9")
	if m.Cores < 1 || m.Memory < 1<<26 || !strings.HasPrefix(m.Kernel, "Linux ") || !strings.HasPrefix(m.Go, "go") || m.Weft != "v9" || m.CPU == "" {
		t.Errorf("%+v", m)
	}
	if DescribeMachine("").Weft == "" {
		t.Error("no version")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0000123: "1.23e-05", 0.1234: "0.123", 1.2345: "1.234", 12.345: "12.35", 123.45: "123.5", 123456.7: "123457", -3: "-3.000"} {
		if got := number(v); got != want {
			t.Errorf("%v prints as %s, want %s", v, got, want)
		}
	}
}
