package workload_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/weft-run/weft/internal/app"
	"github.com/weft-run/weft/internal/workload"
)

func options() workload.Options {
	o := workload.Options{App: "test", Functions: map[string]map[string]any{}, Retention: "7d"}
	for _, name := range append([]string{workload.Bulk}, workload.Functions...) {
		o.Functions[name] = map[string]any{"source": name + ".wasm"}
	}
	return o
}

// evaluate stands for jq.
func evaluate(expressions []string, scope any) []any {
	values := make([]any, len(expressions))
	for i, e := range expressions {
		values[i] = workload.Digest([]any{e, scope})
	}
	return values
}

// Every app is right, every run of it succeeds, in the same way each time; and
// between them they use all that workflows have.
func TestEveryWorkflowHasAResult(t *testing.T) {
	var all strings.Builder
	slots := 0
	for seed := range uint64(80) {
		file := workload.File(rand.New(rand.NewPCG(seed, 1)), options())
		if again := workload.File(rand.New(rand.NewPCG(seed, 1)), options()); string(again) != string(file) {
			t.Fatalf("seed %d gives two apps:\n%s\n%s", seed, file, again)
		}
		all.Write(file)
		a, err := app.Parse("weft.yaml", file)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, file)
		}
		for name := range a.Workflows {
			input := map[string]any{"flag": seed%2 == 0, "n": float64(seed)}
			want, err := workload.Reference(a, name, "r1", input, nil, evaluate)
			if err != nil {
				t.Fatalf("seed %d: %s: %v\n%s", seed, name, err, file)
			}
			again, err := workload.Reference(a, name, "r1", input, nil, evaluate)
			if err != nil || !reflect.DeepEqual(want, again) {
				t.Fatalf("seed %d: %s gives %v and then %v, %v", seed, name, want.Output, again.Output, err)
			}
			slots += len(want.Slots)
		}
	}
	for _, word := range []string{`"foreach"`, `"signal"`, `"wait"`, `"catch"`, `"value"`, `"stdin"`, `"when"`, `"timeout"`, "tostring", `"call": "w0"`, `"call": "bulk"`, `"call": "flaky"`, `"call": "eat"`} {
		if !strings.Contains(all.String(), word) {
			t.Errorf("no workflow has %s", word)
		}
	}
	if slots < 100 {
		t.Errorf("there are %d buffers in all", slots)
	}
}

func TestCompute(t *testing.T) {
	in := map[string]any{"n": 1.0}
	first := workload.Compute(workload.Emit, "each[1].s2[3]", 1, in, nil)
	if got := first.Output.(map[string]any)["$buffer"]; got != "each[1]/s2[3]/out" || len(first.Bytes) == 0 {
		t.Errorf("emit gives %v and %d bytes", got, len(first.Bytes))
	}
	if p := workload.Compute(workload.Eat, "s3", 1, nil, first.Bytes); !p.Takes || reflect.DeepEqual(p.Output, workload.Compute(workload.Look, "s3", 1, nil, first.Bytes).Output) {
		t.Errorf("eat gives %+v", p)
	}
	if !workload.Compute(workload.Fail, "s", 100, in, nil).Fails {
		t.Error("fail does not fail")
	}
	failed := 0
	for n := range 30 {
		in := map[string]any{"n": float64(n)}
		if workload.Compute(workload.Flaky, "s", 1, in, nil).Fails {
			failed++
		}
		if workload.Compute(workload.Flaky, "s", 3, in, nil).Fails {
			t.Errorf("flaky fails at its third attempt")
		}
	}
	if failed == 0 || failed == 30 {
		t.Errorf("flaky failed %d of 30 first attempts", failed)
	}
}
