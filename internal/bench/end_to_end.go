package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
)

// endToEnd asks how long whole workflows take, from the request to the output: word count and sort with their data in files, and a chain of
// functions that each work on all of a large block. The limit is the same work in one plain native process: the same C algorithm with as many
// threads for word count and sort, one thread over resident memory for the chain.
func endToEnd() Experiment {
	return Experiment{
		Name:        "end-to-end",
		Description: "whole workflows from the request to the output",
		Baselines:   []string{"limit", "file"},
		Setup:       setUpEndToEnd,
	}
}

func setUpEndToEnd(ctx context.Context, lab *Lab) error {
	wordCountSize, sortSize, chainSize, stages := int64(100e6), int64(25e6), int64(64<<20), 15
	const ways = 3
	rounds := Rounds{Min: 1, Max: 50}
	wordCounts := lab.Group("word count", rounds)
	sorts := lab.Group("sort", rounds)
	chains := lab.Group("chain", rounds)
	forwards := lab.Group("forward", rounds)
	for _, lang := range []language{languageC, languageGo} {
		w, err := lab.wordCount(ctx, lang, wordCountSize, ways)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("word count %s, %d mappers and reducers", sizeName(wordCountSize), ways)
		if err := addEndToEnd(ctx, lab, wordCounts, w, lang, name, "wordcount"); err != nil {
			return err
		}
		w, err = lab.sort(ctx, lang, sortSize, ways)
		if err != nil {
			return err
		}
		name = fmt.Sprintf("sort %s, %d ways", sizeName(sortSize), ways)
		if err := addEndToEnd(ctx, lab, sorts, w, lang, name, "sort"); err != nil {
			return err
		}
		w, err = lab.chain(ctx, lang, chainSize, stages, false)
		if err != nil {
			return err
		}
		name = fmt.Sprintf("chain of %d × %s", stages, sizeName(chainSize))
		addVariants(chains, w, lang, name)
		if lang == languageC {
			chains.Add(chainLimit(name, chainSize, stages))
		}
		w, err = lab.chain(ctx, lang, chainSize, stages, true)
		if err != nil {
			return err
		}
		addForward(forwards, w, lang, fmt.Sprintf("forwarding %s untouched, per step", sizeName(chainSize)))
	}
	return nil
}

// inLanguage names the measure of a workflow in a language, and the measure whose baselines it has.
func inLanguage(name string, lang language) (measure, against string) {
	if lang == languageC {
		return name, ""
	}
	return name + ", in " + lang.String(), name
}

// addVariants adds a workload under both ways of passing data.
func addVariants(g *Group, w *workload, lang language, name string) {
	measure, against := inLanguage(name, lang)
	for _, pass := range []string{"reference", "file"} {
		g.Add(Case{Variant: pass, Expect: w.expect, Sample: w.sample(measure, against, Request{Pass: pass})})
	}
}

// addEndToEnd adds a workload and, once, its native limit.
func addEndToEnd(ctx context.Context, lab *Lab, g *Group, w *workload, lang language, name, app string) error {
	addVariants(g, w, lang, name)
	if lang != languageC {
		return nil
	}
	n, err := lab.native(ctx, app)
	if errors.Is(err, baseline.ErrNoCompiler) {
		lab.Skip("limit", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	g.Add(Case{Variant: "limit", Expect: w.expect, Sample: func(ctx context.Context) (Sample, error) {
		digest, took, err := w.runNative(ctx, n)
		return Sample{Digest: digest, Values: []Value{Millis(name, took)}}, err
	}})
	return nil
}

// chainLimit does the work of a chain in this process: two blocks that were touched before, each stage reading one and writing the other.
func chainLimit(name string, size int64, stages int) Case {
	chain := baseline.NewChain(int(size))
	return Case{Variant: "limit", Expect: fmt.Sprint(chainSum(size, stages, false)), Sample: func(context.Context) (Sample, error) {
		start := time.Now()
		sum := chain.Run(stages)
		took := time.Since(start)
		return Sample{Digest: strconv.FormatUint(sum, 10), Values: []Value{Millis(name, took)}}, nil
	}}
}

// addForward adds a chain that only passes its block on, measured by the time between the ends of two stages: everything that a step costs
// besides work on the data.
func addForward(g *Group, w *workload, lang language, name string) {
	measure, against := inLanguage(name, lang)
	for _, pass := range []string{"reference", "file"} {
		g.Add(Case{Variant: pass, Expect: w.expect, Sample: func(ctx context.Context) (Sample, error) {
			digest, steps, _, err := w.run(ctx, Request{Pass: pass})
			if err != nil {
				return Sample{}, err
			}
			s := Sample{Digest: digest}
			for i := 1; i+1 < len(steps); i++ { // the first stage fills the block, the last one adds it up
				v := Micros(measure, steps[i].End-steps[i-1].End)
				v.Against = against
				s.Values = append(s.Values, v)
			}
			return s, nil
		}})
	}
}
