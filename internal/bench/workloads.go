package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/data"
	"github.com/weft-run/weft/internal/bench/lab"
	sdk "github.com/weft-run/weft/sdk/c"
)

// language is what the functions of a workflow are written in.
type language string

const (
	languageC  language = "C"
	languageGo language = "Go"
)

// measure names what is measured of functions in that language, and the measure whose baselines it has: those of C.
func (l language) measure(name string) (measure, against string) {
	if l == languageC {
		return name, ""
	}
	return name + " in " + string(l), name
}

// workload is a workflow of an example app over a data set, with the digest of the right output.
type workload struct {
	app      lab.App
	workflow string
	input    any
	digest   func(output any) string
	expect   string
	data     string // folder of the data set
	ways     int    // parts of the data set
}

// run runs the workload once and returns the digest of its output and the time from the request to the output.
func (w *workload) run(ctx context.Context, r lab.Request) (digest string, steps []lab.Step, took time.Duration, err error) {
	r.Workflow, r.Input = w.workflow, w.input
	out, steps, took, err := output(ctx, w.app, r)
	if err != nil {
		return "", nil, took, err
	}
	return w.digest(out), steps, took, nil
}

// sample is a Sample function of a whole run.
func (w *workload) sample(measure, against string, r lab.Request) func(context.Context) (lab.Sample, error) {
	return func(ctx context.Context) (lab.Sample, error) {
		digest, _, took, err := w.run(ctx, r)
		if err != nil {
			return lab.Sample{}, err
		}
		v := lab.Millis(measure, took)
		v.Against = against
		return lab.Sample{Digest: digest, Values: []lab.Value{v}}, nil
	}
}

// wordCount counts the words of size bytes of text: that many mappers and as many reducers.
func wordCount(ctx context.Context, l *lab.Lab, lang language, size int64, ways int) (*workload, error) {
	dir, answers, err := l.Generate(ctx, data.Text, size, ways)
	if err != nil {
		return nil, err
	}
	w := &workload{workflow: "main", data: dir, ways: ways}
	w.expect = fmt.Sprintf("%d words, %d different, %s", answers.Words, answers.Distinct, answers.Digest)
	w.digest = func(out any) string {
		return fmt.Sprintf("%s words, %s different, %s", scalar(member(out, "words")), scalar(member(out, "distinct")), scalar(member(out, "digest")))
	}
	if lang == languageC {
		w.input = map[string]any{"parts": ways, "reducers": ways}
		w.app, err = l.Open(ctx, "wordcount", map[string]string{"/data": dir})
		return w, err
	}
	// The one in Go counts the words of all files in a folder whose names have an ending in common.
	named := dir + "-named"
	if err := linkParts(dir, named, ways, ".txt"); err != nil {
		return nil, err
	}
	// Its output has no digest; the most frequent words and their counts stand for all.
	top := func(words any) string {
		list, _ := words.([]any)
		said := ""
		for _, w := range list {
			said += fmt.Sprintf(", %s %s", scalar(member(w, "word")), scalar(member(w, "count")))
		}
		return said
	}
	w.expect = fmt.Sprintf("%d words, %d different", answers.Words, answers.Distinct)
	for _, c := range answers.Top {
		w.expect += fmt.Sprintf(", %s %d", c.Word, c.Count)
	}
	w.digest = func(out any) string {
		return fmt.Sprintf("%s words, %s different%s", scalar(member(out, "words")), scalar(member(out, "distinct")), top(member(out, "top")))
	}
	w.input = map[string]any{"suffix": ".txt", "batches": ways, "reducers": ways}
	w.app, err = l.Open(ctx, "wordcount-go", map[string]string{"/src": named})
	return w, err
}

// linkParts makes a folder with hard links to the parts of a data set, their names with an ending.
func linkParts(from, to string, parts int, ending string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for i := range parts {
		name := "part-" + strconv.Itoa(i)
		if err := os.Link(filepath.Join(from, name), filepath.Join(to, name+ending)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// sort sorts size bytes of integers in that many parts.
func sort(ctx context.Context, l *lab.Lab, lang language, size int64, ways int) (*workload, error) {
	dir, answers, err := l.Generate(ctx, data.Integers, size, ways)
	if err != nil {
		return nil, err
	}
	w := &workload{workflow: "main", input: map[string]any{"sorters": ways, "mergers": ways}, data: dir, ways: ways}
	w.expect = fmt.Sprintf("%d numbers, %s", answers.Numbers, answers.Digest)
	w.digest = func(out any) string {
		return fmt.Sprintf("%s numbers, %s", scalar(member(out, "numbers")), scalar(member(out, "digest")))
	}
	app := "sort"
	if lang == languageGo {
		app = "sort-go"
	}
	w.app, err = l.Open(ctx, app, map[string]string{"/data": dir})
	return w, err
}

// chainLinks is the number of functions of the chain.
const chainLinks = 15

// chain hands size bytes through functions of which the first fills them, word i with i, and each of the others reads every word and publishes
// one that is one larger or, without touch, publishes what it took.
func chain(ctx context.Context, l *lab.Lab, size int64, touch bool) (*workload, error) {
	w := &workload{workflow: "main", input: map[string]any{"size": size, "touch": touch}}
	w.expect = chainDigest(size, touch)
	w.digest = func(out any) string {
		return fmt.Sprintf("%s bytes, from %s to %s, sum %s", scalar(member(out, "bytes")), scalar(member(out, "first")), scalar(member(out, "last")), scalar(member(out, "sum")))
	}
	var err error
	w.app, err = l.Open(ctx, "chain", nil)
	return w, err
}

// chainDigest is the digest of the right output of a chain. A link that only passes its buffer on reports no sum.
func chainDigest(size int64, touch bool) string {
	words, added, sum := uint64(size/8), uint64(0), uint64(0)
	if touch {
		added = chainLinks - 1
		sum = baseline.SumOfBlock(int(size)) + added*words
	}
	return fmt.Sprintf("%d bytes, from %d to %d, sum %016x", size, added, words-1+added, sum)
}

// native compiles the plain C program that does the work of an example app. It is made of the same sources as the app's functions and needs the
// header of the C SDK.
func native(ctx context.Context, l *lab.Lab, app string) (*baseline.Native, error) {
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
