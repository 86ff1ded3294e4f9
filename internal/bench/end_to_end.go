package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-run/weft/internal/bench/baseline"
	"github.com/weft-run/weft/internal/bench/lab"
)

// endToEnd asks how long whole workflows take, from the request to the output: word count and sort with their data in files, and a chain of
// functions that each work on all of a large block. The limit is the same work in one plain native process: the same C algorithm with as many
// threads for word count and sort, one thread over resident memory for the chain.
func endToEnd() lab.Experiment {
	return lab.Experiment{
		Name:        "end-to-end",
		Description: "whole workflows from the request to the output",
		Baselines:   []string{"limit", "file"},
		Setup: func(ctx context.Context, l *lab.Lab) error {
			return setUpEndToEnd(ctx, l, endToEndSizes{wordCount: 100e6, sort: 25e6, chain: 64 << 20})
		},
	}
}

// endToEndSizes are the bytes that each workflow works on.
type endToEndSizes struct {
	wordCount, sort, chain int64
}

func setUpEndToEnd(ctx context.Context, l *lab.Lab, sizes endToEndSizes) error {
	const ways = 3
	rounds := lab.Rounds{Min: 1, Max: 50}
	for _, k := range []struct {
		app, name string
		make      func(context.Context, *lab.Lab, language, int64, int) (*workload, error)
		size      int64
	}{
		{"wordcount", fmt.Sprintf("word count %s, %d mappers and reducers", sizeName(sizes.wordCount), ways), wordCount, sizes.wordCount},
		{"sort", fmt.Sprintf("sort %s, %d ways", sizeName(sizes.sort), ways), sort, sizes.sort},
	} {
		g := l.Group(k.name, rounds)
		for _, lang := range []language{languageC, languageGo} {
			w, err := k.make(ctx, l, lang, k.size, ways)
			if err != nil {
				return err
			}
			addVariants(g, w, lang, k.name)
			if lang != languageC {
				continue
			}
			if err := addNative(ctx, l, g, w, k.name, k.app); err != nil {
				return err
			}
		}
	}
	touched, err := chain(ctx, l, sizes.chain, true)
	if err != nil {
		return err
	}
	forwarded, err := chain(ctx, l, sizes.chain, false)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("chain of %d × %s", chainLinks, sizeName(sizes.chain))
	chains, forwards := l.Group(name, rounds), l.Group("forward", rounds)
	addVariants(chains, touched, languageC, name)
	chains.Add(chainLimit(name, sizes.chain))
	addForward(forwards, forwarded, fmt.Sprintf("forwarding %s untouched, per step", sizeName(sizes.chain)))
	return nil
}

// addVariants adds a workload under both ways of passing data.
func addVariants(g *lab.Group, w *workload, lang language, name string) {
	measure, against := lang.measure(name)
	for _, pass := range []string{"reference", "file"} {
		g.Add(lab.Case{Variant: pass, Expect: w.expect, Sample: w.sample(measure, against, lab.Request{Pass: pass})})
	}
}

// addNative adds the native limit of a workload.
func addNative(ctx context.Context, l *lab.Lab, g *lab.Group, w *workload, name, app string) error {
	n, err := native(ctx, l, app)
	if errors.Is(err, baseline.ErrNoCompiler) {
		l.Skip("limit", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	g.Add(lab.Case{Variant: "limit", Expect: w.expect, Sample: func(ctx context.Context) (lab.Sample, error) {
		digest, took, err := w.runNative(ctx, n)
		return lab.Sample{Digest: digest, Values: []lab.Value{lab.Millis(name, took)}}, err
	}})
	return nil
}

// chainLimit does the work of a chain in this process.
func chainLimit(name string, size int64) lab.Case {
	chain := baseline.NewChain(int(size))
	return lab.Case{Variant: "limit", Expect: chainDigest(size, true), Sample: func(context.Context) (lab.Sample, error) {
		start := time.Now()
		first, last, sum := chain.Run(chainLinks)
		took := time.Since(start)
		return lab.Sample{Digest: fmt.Sprintf("%d bytes, from %d to %d, sum %016x", size, first, last, sum), Values: []lab.Value{lab.Millis(name, took)}}, nil
	}}
}

// addForward adds a chain that only passes its block on, measured by the time between the ends of two stages: everything that a step costs
// besides work on the data.
func addForward(g *lab.Group, w *workload, measure string) {
	for _, pass := range []string{"reference", "file"} {
		g.Add(lab.Case{Variant: pass, Expect: w.expect, Sample: func(ctx context.Context) (lab.Sample, error) {
			digest, steps, _, err := w.run(ctx, lab.Request{Pass: pass})
			if err != nil {
				return lab.Sample{}, err
			}
			s := lab.Sample{Digest: digest}
			for i := 1; i+1 < len(steps); i++ { // the first stage fills the block, the last one adds it up
				s.Values = append(s.Values, lab.Micros(measure, steps[i].End-steps[i-1].End))
			}
			return s, nil
		}})
	}
}
