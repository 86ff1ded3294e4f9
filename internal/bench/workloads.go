package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/data"
	sdk "github.com/weft-run/weft/sdk/c"
)

// language is what the functions of an example are written in. It is part of the name of its workflows.
type language string

const (
	languageC  language = "c"
	languageGo language = "go"
)

// String is the language's name in measures.
func (l language) String() string {
	if l == languageC {
		return "C"
	}
	return "Go"
}

// workload is a workflow of an example app over a data set, with the digest of the right output.
type workload struct {
	app      App
	workflow string
	input    any
	digest   func(output any) string
	expect   string
	data     string // folder of the data set
	ways     int    // parts of the data set
}

// run runs the workload once and returns the digest of its output and the time from the request to the output.
func (w *workload) run(ctx context.Context, r Request) (digest string, steps []Step, took time.Duration, err error) {
	r.Workflow, r.Input = w.workflow, w.input
	out, steps, took, err := output(ctx, w.app, r)
	if err != nil {
		return "", nil, took, err
	}
	return w.digest(out), steps, took, nil
}

// sample is a Sample function of a whole run.
func (w *workload) sample(measure, against string, r Request) func(context.Context) (Sample, error) {
	return func(ctx context.Context) (Sample, error) {
		digest, _, took, err := w.run(ctx, r)
		if err != nil {
			return Sample{}, err
		}
		v := Millis(measure, took)
		v.Against = against
		return Sample{Digest: digest, Values: []Value{v}}, nil
	}
}

// wordCount counts the words of size bytes of text: that many mappers and as many reducers.
func (l *Lab) wordCount(ctx context.Context, lang language, size int64, ways int) (*workload, error) {
	dir, answers, err := l.generate(ctx, data.Text, size, ways)
	if err != nil {
		return nil, err
	}
	w := &workload{workflow: "main", input: map[string]any{"parts": ways, "reducers": ways}, data: dir, ways: ways}
	w.expect = fmt.Sprintf("%d words, %d different, %s", answers.Words, answers.Distinct, answers.Digest)
	w.digest = func(out any) string {
		return fmt.Sprintf("%s words, %s different, %s", scalar(member(out, "words")), scalar(member(out, "distinct")), scalar(member(out, "digest")))
	}
	w.app, err = l.open(ctx, "wordcount", dir)
	return w, err
}

// sort sorts size bytes of integers in that many parts.
func (l *Lab) sort(ctx context.Context, lang language, size int64, ways int) (*workload, error) {
	dir, answers, err := l.generate(ctx, data.Integers, size, ways)
	if err != nil {
		return nil, err
	}
	w := &workload{workflow: "main", input: map[string]any{"sorters": ways, "mergers": ways}, data: dir, ways: ways}
	w.expect = fmt.Sprintf("%d numbers, %s", answers.Numbers, answers.Digest)
	w.digest = func(out any) string {
		return fmt.Sprintf("%s numbers, %s", scalar(member(out, "numbers")), scalar(member(out, "digest")))
	}
	w.app, err = l.open(ctx, "sort", dir)
	return w, err
}

// chain passes size bytes through stages functions, each of which reads and writes every word, or, when forwarding, none.
func (l *Lab) chain(ctx context.Context, lang language, size int64, stages int, forward bool) (*workload, error) {
	w := &workload{workflow: string(lang), input: map[string]any{"stages": stages, "size": size, "forward": forward}}
	w.expect = fmt.Sprint(chainSum(size, stages, forward))
	w.digest = func(out any) string { return scalar(member(out, "sum")) }
	var err error
	w.app, err = l.open(ctx, "chain", "")
	return w, err
}

// chainSum is the sum of the words at the end of a chain whose first stage fills word i with i.
func chainSum(size int64, stages int, forward bool) uint64 {
	sum := baseline.SumOfBlock(int(size))
	if !forward {
		sum += uint64(stages-1) * uint64(size/8)
	}
	return sum
}

// native compiles the plain C program that does the work of an example app. It is made of the same sources as the app's functions and needs the
// header of the C SDK.
func (l *Lab) native(ctx context.Context, app string) (*baseline.Native, error) {
	include := filepath.Join(l.Dir, "include")
	if err := os.MkdirAll(include, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(include, "weft.h"), sdk.Header, 0o644); err != nil {
		return nil, err
	}
	return baseline.CompileNative(ctx, filepath.Join(l.Examples, app, "native.c"), include, l.Dir)
}

// runNative does the work of w by the plain C program n, which takes the folder and the numbers of functions of each kind and has as many threads
// as the workload has parts.
func (w *workload) runNative(ctx context.Context, n *baseline.Native) (digest string, took time.Duration, err error) {
	ways := strconv.Itoa(w.ways)
	printed, took, err := n.Run(ctx, w.data, ways, ways)
	if err != nil {
		return "", took, err
	}
	var out any
	if err := json.Unmarshal(printed, &out); err != nil {
		return "", took, fmt.Errorf("%w: %w in %q", errExample, err, printed)
	}
	return w.digest(out), took, nil
}
