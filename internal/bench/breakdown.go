package bench

import (
	"context"
	"fmt"

	"github.com/weft-run/weft/internal/bench/lab"
)

// breakdown asks how much of the whole each idea is worth: from passing data by files and setting up every module at the start, to modules on
// demand, to references as well.
func breakdown() lab.Experiment {
	return lab.Experiment{
		Name:        "breakdown",
		Description: "whole workflows without, with one and with both of: modules on demand, passing by reference",
		Baselines:   []string{"file+eager", "file+lazy"},
		Setup:       setUpBreakdown,
	}
}

func setUpBreakdown(ctx context.Context, l *lab.Lab) error {
	const ways = 5
	wordCount, err := wordCount(ctx, l, languageC, 10e6, ways)
	if err != nil {
		return err
	}
	sort, err := sort(ctx, l, languageC, 1e6, ways)
	if err != nil {
		return err
	}
	chain, err := chain(ctx, l, 1<<20, true)
	if err != nil {
		return err
	}
	for _, w := range []struct {
		name string
		*workload
	}{
		{fmt.Sprintf("word count 10 MB, %d mappers and reducers", ways), wordCount},
		{fmt.Sprintf("sort 1 MB, %d ways", ways), sort},
		{"chain of 15 × 1 MiB", chain},
	} {
		g := l.Group(w.name, lab.Rounds{WarmUp: 2, Min: 2, Max: 200})
		for _, v := range []struct{ name, pass, load string }{
			{"file+eager", "file", "eager"},
			{"file+lazy", "file", "lazy"},
			{"reference+lazy", "reference", "lazy"},
		} {
			g.Add(lab.Case{Variant: v.name, Expect: w.expect, Sample: w.sample(w.name, "", lab.Request{Pass: v.pass, Load: v.load})})
		}
	}
	return nil
}
