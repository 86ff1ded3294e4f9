package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
	"github.com/weft-run/weft/internal/bench/load"
)

// fakeWeft knows the example apps and answers for them. It stands for a node in tests of the experiments themselves.
type fakeWeft struct {
	lie    string // the app that gives a wrong answer
	closed int
}

func (w *fakeWeft) Open(_ context.Context, dir string, mounts map[string]string) (lab.App, error) {
	a := &fakeApp{weft: w, name: strings.TrimSuffix(filepath.Base(dir), "-go")}
	for _, host := range mounts {
		a.data = strings.TrimSuffix(host, "-named")
	}
	return a, nil
}

func (w *fakeWeft) Close() error { w.closed++; return nil }

func (w *fakeWeft) IdleHost(context.Context) (time.Duration, int64, error) {
	return 3 * time.Millisecond, 5 << 20, nil
}

type fakeApp struct {
	weft       *fakeWeft
	name, data string
}

func (a *fakeApp) Run(_ context.Context, r lab.Request) (*lab.Result, error) {
	out, err := a.output(r)
	if err != nil {
		return nil, err
	}
	if a.name == a.weft.lie {
		out = map[string]any{"words": 1.0}
	}
	result := &lab.Result{Output: out}
	n := 0
	switch a.name {
	case "steps":
		n = overheadSteps
	case "chain":
		n = chainLinks
	}
	for i := range n {
		at := time.Duration(i) * time.Millisecond
		result.Steps = append(result.Steps, lab.Step{Name: fmt.Sprintf("s%d", i), Start: at, End: at + time.Millisecond, Inside: 900 * time.Microsecond})
	}
	return result, nil
}

// output is what the example's functions return.
func (a *fakeApp) output(r lab.Request) (any, error) {
	input, _ := r.Input.(map[string]any)
	switch a.name {
	case "hello":
		return "Hello, " + input["name"].(string) + "!", nil
	case "load-all":
		return map[string]any{"clock_ns": 1.0, "fs_ns": 2.0, "buffer_ns": 3.0, "net_ns": 4.0}, nil
	case "steps":
		return 1.0, nil
	case "transfer":
		size := input["size"].(int64)
		return map[string]any{
			"send":    map[string]any{"publish_ns": 1000.0},
			"receive": map[string]any{"take_ns": 2000.0, "read_ns": 3000.0, "again_ns": 2500.0, "release_ns": 500.0, "sum": sumText(baseline.SumOfBlock(int(size)))},
		}, nil
	case "chain":
		size, touch := input["size"].(int64), input["touch"].(bool)
		var first, last, sum uint64
		if touch {
			first, last, sum = baseline.NewChain(int(size)).Run(chainLinks)
		} else {
			last = uint64(size/8) - 1
		}
		return map[string]any{"bytes": float64(size), "first": float64(first), "last": float64(last), "sum": sumText(sum)}, nil
	case "wordcount", "sort":
		b, err := os.ReadFile(filepath.Join(a.data, "answers.json"))
		if err != nil {
			return nil, err
		}
		var answers any
		return answers, json.Unmarshal(b, &answers)
	}
	return nil, fmt.Errorf("no app %q", a.name)
}

// smallExperiments are the experiments with sizes for a test.
func smallExperiments() []lab.Experiment {
	small := map[string]func(context.Context, *lab.Lab) error{
		"end-to-end": func(ctx context.Context, l *lab.Lab) error {
			return setUpEndToEnd(ctx, l, endToEndSizes{wordCount: 300_000, sort: 100_000, chain: 64 << 10})
		},
		"data-transfer": func(ctx context.Context, l *lab.Lab) error {
			return setUpDataTransfer(ctx, l, []int64{4 << 10, 1 << 20})
		},
		"p99": func(ctx context.Context, l *lab.Lab) error {
			return setUpP99(ctx, l, p99Sizes{sort: []int64{10_000}, rates: []float64{40, 80}, requests: 5, arrivals: []load.Arrivals{load.Poisson, load.Fixed}})
		},
		"resources": func(ctx context.Context, l *lab.Lab) error { return setUpResources(ctx, l, 10_000, []int{3, 6}) },
	}
	all := Experiments()
	for i := range all {
		if setup := small[all[i].Name]; setup != nil {
			all[i].Setup = setup
		}
	}
	return slices.DeleteFunc(all, func(e lab.Experiment) bool { return e.Serves }) // their tests are in server_test.go
}

// Every experiment must run from set-up to report, with each of its variants in the rows.
func TestExperiments(t *testing.T) {
	want := map[string]string{
		"cold-start":    "eager lazy namespaced-process process python3",
		"data-transfer": "file http limit memfd page-cache reference reference-across-hosts unix-socket",
		"end-to-end":    "file limit reference",
		"breakdown":     "file+eager file+lazy reference+lazy",
		"p99":           "file reference",
		"resources":     "file limit reference",
		"overhead":      "weft",
		"host":          "namespaced-process process python3 weft",
	}
	for _, e := range smallExperiments() {
		t.Run(e.Name, func(t *testing.T) {
			w := &fakeWeft{}
			var printed bytes.Buffer
			r, err := lab.Run(t.Context(), e, lab.Options{
				Quick: true, Budget: time.Second / 2, Out: t.TempDir(), Stdout: &printed,
				Start: func(context.Context, string) (lab.Weft, error) { return w, nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			var variants []string
			for _, row := range r.Rows {
				if !slices.Contains(variants, row.Variant) {
					variants = append(variants, row.Variant)
				}
			}
			for _, s := range r.Skipped {
				t.Logf("skipped %s: %s", s.Variant, s.Reason)
				variants = append(variants, s.Variant)
			}
			slices.Sort(variants)
			if got := strings.Join(slices.Compact(variants), " "); got != want[e.Name] {
				t.Errorf("variants %s, want %s", got, want[e.Name])
			}
			if !r.Checked || r.Outputs == 0 {
				t.Error("not checked")
			}
			if w.closed != 1 {
				t.Errorf("the node was closed %d times", w.closed)
			}
			if testing.Verbose() {
				t.Logf("\n%s", printed.String())
			}
		})
	}
}

// An app that answers wrongly must fail each experiment that uses it.
func TestExperimentsRefuseWrongAnswers(t *testing.T) {
	for name, app := range map[string]string{"end-to-end": "wordcount", "breakdown": "sort", "resources": "sort", "overhead": "steps"} {
		for _, e := range smallExperiments() {
			if e.Name != name {
				continue
			}
			_, err := lab.Run(t.Context(), e, lab.Options{
				Quick: true, Budget: time.Second,
				Start: func(context.Context, string) (lab.Weft, error) { return &fakeWeft{lie: app}, nil },
			})
			if !errors.Is(err, lab.ErrDigest) {
				t.Errorf("%s with a lying %s: %v", name, app, err)
			}
		}
	}
}

// The app of a thousand steps is one that the app package accepts.
func TestStepsApp(t *testing.T) {
	dir := t.TempDir()
	if err := writeStepsApp(dir, overheadSteps); err != nil {
		t.Fatal(err)
	}
	a, err := app.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(a.Workflows["main"].Steps); n != overheadSteps {
		t.Errorf("%d steps", n)
	}
}
